"""A whole Superset in this process, its metadata in SQLite: logs an administrator in and answers requests to its API.

A line of standard input is [method, path, body], a line of standard output [status, body]. Runs in the environment of Superset;
the argument is a folder for its files. Used by test_superset.py.
"""

import contextlib
import json
import os
import sys
from pathlib import Path

CONFIG = """
SECRET_KEY = "not a secret, it is gone with the test ........"
SQLALCHEMY_DATABASE_URI = "sqlite:///{home}/metadata.db"
WTF_CSRF_ENABLED = False
TALISMAN_ENABLED = False
RATELIMIT_ENABLED = False
"""


def start(home):
    (home / "superset_config.py").write_text(CONFIG.format(home=home))
    os.environ.update(SUPERSET_CONFIG_PATH=str(home / "superset_config.py"), SUPERSET_HOME=str(home))
    from superset.app import create_app

    app = create_app()
    with app.app_context():
        from flask_appbuilder import Model
        from superset.extensions import appbuilder, db, security_manager

        # What `superset db upgrade` and `superset init` end with, without the history of migrations and roles nobody here has.
        Model.metadata.create_all(db.engine)
        appbuilder.add_permissions(update_perms=True)
        security_manager.create_custom_permissions()
        permissions = security_manager._get_all_pvms()
        security_manager.set_role("Admin", security_manager._is_admin_pvm, permissions)
        assert security_manager.add_user("admin", "a", "b", "a@example.com", security_manager.find_role("Admin"), password="admin")
        db.session.commit()
    return app.test_client()


def main():
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        client = start(Path(sys.argv[1]))
        login = client.post("/api/v1/security/login", json={"username": "admin", "password": "admin", "provider": "db"})
        headers = {"Authorization": f"Bearer {login.json['access_token']}"}
        for line in sys.stdin:
            method, path, body = json.loads(line)
            response = client.open(path, method=method, headers=headers, json=body)
            print(json.dumps([response.status_code, response.get_json(silent=True)]), file=answers, flush=True)


main()
