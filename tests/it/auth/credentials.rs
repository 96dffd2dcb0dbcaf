//! Passwords, tokens and sessions over real connections; the first start; what keeps a server from starting.

use std::time::Duration;

use super::*;

/// The text of a token made by `sql`.
pub(super) async fn token(server: &Guarded, authorization: &str, sql: &str) -> String {
    let (status, body) = server.http(authorization, sql).await;
    assert_eq!(status, 200, "{body}");
    let text = body.to_string();
    let at = text.find("adlake_").unwrap();
    format!("Bearer {}", text[at..].split('"').next().unwrap())
}

#[tokio::test]
async fn a_handshake_gives_a_session_of_its_user() {
    let server = Guarded::with_people().await;
    let mut client = server.flight("").await;
    let refused = client.handshake("pat", "wrong").await.unwrap_err();
    assert!(refused.to_string().contains("not signed in"), "{refused}");
    client.handshake("pat", "pat-password").await.unwrap();
    assert_eq!(cell(fetch(&mut client, "SELECT current_user()").await), "pat");
    assert_eq!(cell(fetch(&mut client, "SELECT count(*) FROM sales").await), "2");
    let session = client.token().unwrap().clone();
    let listed = server.over_http(&server.admin, "SELECT session_id FROM system.queries").await;
    assert!(!listed.contains(&session), "ids of sessions lead nowhere");
    server.run("DROP USER pat").await;
    assert_eq!(cell(fetch(&mut client, "SELECT 1").await), "unauthenticated");
    server.stop().await;
}

#[tokio::test]
async fn a_session_ends_with_the_password_it_was_opened_by() {
    let server = Guarded::with_people().await;
    for changes in [
        &["ALTER USER pat PASSWORD 'another-one'"][..],
        &["DROP USER pat", "CREATE USER pat PASSWORD 'pat-password' ROLE partner"],
    ] {
        server.run("ALTER USER pat PASSWORD 'pat-password'").await;
        let mut client = server.flight("").await;
        client.handshake("pat", "pat-password").await.unwrap();
        assert_eq!(cell(fetch(&mut client, "SELECT 1").await), "1");
        for sql in changes {
            server.run(sql).await;
        }
        assert_eq!(cell(fetch(&mut client, "SELECT 1").await), "unauthenticated", "{changes:?}");
    }
    // By a token it does not, while that holds.
    let own = token(&server, &server.admin, "CREATE TOKEN FOR pat").await;
    let mut client = server.flight("").await;
    client.handshake("pat", own.strip_prefix("Bearer ").unwrap()).await.unwrap();
    server.run("ALTER USER pat PASSWORD 'another-one'").await;
    assert_eq!(cell(fetch(&mut client, "SELECT 1").await), "1");
    server.stop().await;
}

#[tokio::test]
async fn a_stolen_ticket_shows_the_thief_their_own_rows() {
    let server = Guarded::with_people().await;
    let (mut pat, mut pia) = (server.flight(&as_user("pat")).await, server.flight(&as_user("pia")).await);
    let mut prepared = pat.prepare("SELECT id FROM sales".to_owned(), None).await.unwrap();
    let info = prepared.execute().await.unwrap();
    // A ticket carries the statement alone: whoever brings it sees their own rows.
    let stolen = rows_of(&mut pia, info).await.unwrap();
    assert_eq!(stolen.len(), 2);
    assert!(stolen.iter().all(|id| id == "3" || id == "4"), "{stolen:?}");
    server.stop().await;
}

#[tokio::test]
async fn tokens_are_scoped_expire_and_are_dropped() {
    let server = Guarded::with_people().await;
    let read = token(&server, &as_user("eve"), "CREATE TOKEN SCOPE READ EXPIRES IN '1 hour'").await;
    assert_eq!(server.over_http(&read, "SELECT count(*) FROM secret").await, "0");
    assert_eq!(server.over_http(&read, "INSERT INTO secret VALUES (1)").await, "permission_denied");
    assert_eq!(server.over_http(&read, "CREATE VIEW w AS SELECT 1 AS one").await, "permission_denied");
    assert_eq!(server.over_http(&read, "CREATE TOKEN").await, "permission_denied");
    let one = token(&server, &as_user("eve"), "CREATE TOKEN SCOPE ON secret").await;
    assert_eq!(server.over_http(&one, "SELECT count(*) FROM secret").await, "0");
    assert_eq!(server.over_flight(&one, "SELECT count(*) FROM sales").await, "not_found");
    let rows_in = token(&server, &as_user("eve"), "CREATE TOKEN SCOPE INGEST").await;
    assert_eq!(server.over_http(&rows_in, "SELECT count(*) FROM secret").await, "permission_denied");
    let rows = server.request(Method::POST, "/v1/tables/secret/rows", &rows_in).json(&json!([{"x": 1}]));
    assert_eq!(rows.send().await.unwrap().status(), 200);
    assert_eq!(server.over_http(&as_user("pat"), "CREATE TOKEN FOR eve").await, "permission_denied");
    let listed = server.over_http(&as_user("eve"), "SELECT id, scope FROM system.tokens ORDER BY scope").await;
    assert_eq!(listed.split("; ").count(), 3, "{listed}");
    let id = listed.split('|').next().unwrap().to_owned();
    assert_eq!(server.over_http(&as_user("pat"), &format!("DROP TOKEN '{id}'")).await, "permission_denied");
    server.clock.advance(Duration::from_secs(3600));
    assert_eq!(server.over_http(&read, "SELECT 1").await, "unauthenticated");
    server.run(&format!("DROP TOKEN '{id}'")).await;
    let (status, problem) = server.http(&as_user("eve"), "CREATE TOKEN EXPIRES IN '1000 days'").await;
    assert!(status == 400 && problem["detail"].as_str().unwrap().contains("auth.token_lifetime_max"), "{problem}");
    server.stop().await;
}

#[tokio::test]
async fn everybody_changes_their_own_password() {
    let server = Guarded::with_people().await;
    assert_eq!(server.over_http(&as_user("pat"), "ALTER USER pia PASSWORD 'another-one'").await, "permission_denied");
    assert_eq!(server.over_http(&as_user("pat"), "ALTER USER pat ATTRIBUTE region = 'US'").await, "permission_denied");
    let (status, _) = server.http(&as_user("pat"), "ALTER USER pat PASSWORD 'another-one'").await;
    assert_eq!(status, 200);
    assert_eq!(server.over_http(&as_user("pat"), "SELECT 1").await, "unauthenticated");
    server.stop().await;
}

#[tokio::test]
async fn guessing_is_slowed_down() {
    let server = Guarded::with_people().await;
    let mut last = String::new();
    for _ in 0..11 {
        last = server.over_http("Basic cGF0Omd1ZXNz", "SELECT 1").await;
    }
    assert_eq!(last, "resource_exhausted");
    assert_eq!(server.over_http(&as_user("pia"), "SELECT 1").await, "1", "others are not held up");
    server.stop().await;
}

#[tokio::test]
async fn a_token_as_the_password_is_its_users_and_tells_nobody_who_exists() {
    let server = Guarded::with_people().await;
    let own = token(&server, &as_user("pat"), "CREATE TOKEN").await;
    let own = own.strip_prefix("Bearer ").unwrap();
    assert_eq!(server.over_http(&basic("pat", own), "SELECT current_user()").await, "pat");
    assert_eq!(server.over_http(&basic("pia", own), "SELECT 1").await, "unauthenticated");
    // More than are free under a name.
    for name in ["pat", "nobody"] {
        for attempt in 1..=11 {
            let found = server.over_http(&basic(name, "adlake_x"), "SELECT 1").await;
            assert_eq!(found, "unauthenticated", "{name}, attempt {attempt}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn the_first_start_makes_an_admin_once_and_a_damaged_document_stops_the_start() {
    let server = Guarded::start().await;
    assert_eq!(server.over_http(&server.admin, "SHOW USERS").await.split('|').next(), Some("admin"));
    let files = crate::place::files(server.folder.path());
    let again = served(&server.folder, &[], &server.clock).await.unwrap();
    assert!(again.first_token.is_none());
    assert!(again.app.stop().await);
    std::fs::write(files.join("documents/auth/00000000000000000002.json"), "{}").unwrap();
    let Err(error) = served(&server.folder, &[], &server.clock).await else { panic!("it started") };
    assert!(error.message.contains("users and roles"), "{error}");
    server.stop().await;
}

#[tokio::test]
async fn beyond_loopback_needs_authentication_or_a_word_of_warning() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::manual(NOON));
    let open = [("auth.mode", "off"), ("server.bind", "0.0.0.0")];
    let Err(error) = served(&folder, &open, &clock).await else { panic!("it listens to everybody") };
    assert!(error.message.contains("auth.mode"), "{error}");
    let wrong = [("auth.password_lanes", "0")];
    let Err(error) = served(&folder, &wrong, &clock).await else { panic!("it started") };
    assert!(error.message.contains("auth.password_memory"), "{error}");
}

/// Signs tokens as an identity provider does.
struct Provider(aws_lc_rs::signature::EcdsaKeyPair);

impl Provider {
    fn new() -> Self {
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn key_set(&self) -> String {
        use aws_lc_rs::signature::KeyPair;
        let point = self.0.public_key().as_ref();
        let key =
            json!({"kty": "EC", "crv": "P-256", "kid": "1", "x": encoded(&point[1..33]), "y": encoded(&point[33..])});
        json!({ "keys": [key] }).to_string()
    }

    fn token(&self, claims: &Value) -> String {
        let head = json!({"alg": "ES256", "kid": "1"});
        let message = format!("{}.{}", encoded(head.to_string().as_bytes()), encoded(claims.to_string().as_bytes()));
        let signature = self.0.sign(&aws_lc_rs::rand::SystemRandom::new(), message.as_bytes()).unwrap();
        format!("Bearer {message}.{}", encoded(signature.as_ref()))
    }
}

fn encoded(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

#[tokio::test]
async fn an_identity_providers_tokens_have_mapped_roles_and_attributes() {
    let (provider, forger, folder) = (Provider::new(), Provider::new(), tempfile::tempdir().unwrap());
    let keys = folder.path().join("keys.json");
    std::fs::write(&keys, provider.key_set()).unwrap();
    let settings = [
        ("auth.jwt.issuer", "https://id.example"),
        ("auth.jwt.audience", "adlake"),
        ("auth.jwt.keys", keys.to_str().unwrap()),
        ("auth.jwt.roles_claim", "groups"),
        ("auth.jwt.roles", "partners=partner, staff=analyst, roots=admin"),
        ("auth.jwt.attributes", "org=region"),
    ];
    let server = Guarded::with(folder, &settings).await;
    server.populate().await;
    let exp = NOON.micros() / 1_000_000 + 600;
    let claims = |groups: &[&str], exp: i64| json!({"iss": "https://id.example", "aud": "adlake", "sub": "admin", "exp": exp, "groups": groups, "org": "KR"});
    let partner = provider.token(&claims(&["partners", "admin"], exp));
    for found in [
        server.over_http(&partner, "SELECT current_user(), count(*) FROM sales").await,
        server.over_flight(&partner, "SELECT current_user(), count(*) FROM sales").await,
    ] {
        assert_eq!(found, "admin|2", "a name is no right");
    }
    server.run("SELECT 'of ours' AS whose").await;
    let own = "SELECT count(*) > 0, count(*) FILTER (WHERE sql = 'SELECT ''of ours'' AS whose') FROM system.queries";
    assert_eq!(server.over_http(&partner, own).await, "true|0", "those of its name are not its own");
    assert_eq!(server.over_http(&server.admin, own).await, "true|1");
    for table in ["tokens", "limits"] {
        let own = format!("SELECT count(*) FROM system.{table} WHERE user_name = 'admin'");
        assert_eq!(server.over_http(&partner, &own).await, "0", "{table}");
        assert_eq!(server.over_http(&server.admin, &own).await, "1", "{table}");
    }
    assert_eq!(server.over_http(&partner, "CREATE TOKEN").await, "permission_denied");
    let root = provider.token(&claims(&["roots"], exp));
    assert_eq!(server.over_http(&root, "CREATE TOKEN").await, "invalid_argument", "it is no user who could have one");
    for wrong in [forger.token(&claims(&["staff"], exp)), provider.token(&claims(&["staff"], exp - 1200))] {
        assert_eq!(server.over_http(&wrong, "SELECT 1").await, "unauthenticated");
    }
    server.clock.advance(Duration::from_secs(700));
    assert_eq!(server.over_http(&partner, "SELECT 1").await, "unauthenticated", "expired");
    server.stop().await;

    let folder = tempfile::tempdir().unwrap();
    let gone = [("auth.jwt.issuer", "x"), ("auth.jwt.audience", "y"), ("auth.jwt.keys", "/nowhere/keys.json")];
    let Err(error) = served(&folder, &gone, &Clock::manual(NOON)).await else { panic!("it serves without keys") };
    assert!(error.message.contains("auth.jwt.keys"), "{error}");
}
