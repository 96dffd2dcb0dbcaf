//! A bucket, step by step, over the AWS SDK.
//!
//! Keys come from object_store's chain (configuration, environment, instance role), so that `init` runs with the keys that
//! `serve` runs with.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
};
use aws_sdk_s3::error::{BuildError, DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration,
    LifecycleRule, PublicAccessBlockConfiguration, ServerSideEncryption, ServerSideEncryptionByDefault,
    ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
};

use super::{InitMode, InitStep, StepOutcome, lifecycle};
use crate::storage::store::bucket_store;
use crate::storage::{S3Config, StorageError};

const DEFAULT_REGION: &str = "us-east-1";

/// The bucket being set up.
struct Setup<'a> {
    client: Client,
    bucket: &'a str,
    prefix: &'a str,
    region: String,
    mode: InitMode,
}

/// Why a step did not happen.
enum Trouble {
    Unsupported,
    /// The thing asked for is not set.
    Missing,
    Other(String),
}

pub(super) async fn init(
    bucket: &str,
    prefix: &str,
    s3: &S3Config,
    mode: InitMode,
) -> Result<Vec<InitStep>, StorageError> {
    let region = if s3.region.is_empty() { DEFAULT_REGION.to_owned() } else { s3.region.clone() };
    let client = client(bucket, s3, &region).await?;
    let setup = Setup { client, bucket, prefix, region, mode };
    let made = setup.make().await?;
    let is_absent = made.outcome == StepOutcome::WouldDo;
    let mut steps = vec![made];
    if is_absent {
        let rest = "then: public access blocked, encryption on, unfinished uploads ended after a day";
        steps.push(InitStep::new("settings", StepOutcome::WouldDo, rest));
        return Ok(steps);
    }
    steps.push(setup.block_public_access().await);
    steps.push(setup.encrypt().await);
    let rules = setup.rules().await;
    steps.push(setup.end_unfinished_uploads(&rules).await);
    steps.extend(setup.warn_of_expiry(&rules));
    steps.push(setup.versioning(&rules).await);
    Ok(steps)
}

async fn client(bucket: &str, s3: &S3Config, region: &str) -> Result<Client, StorageError> {
    let keys = bucket_store(bucket, s3)?.credentials().get_credential().await;
    let keys = keys.map_err(|error| StorageError::store("find keys for S3 (storage.s3.access_key_id)", error))?;
    let credentials = Credentials::new(&keys.key_id, &keys.secret_key, keys.token.clone(), None, "adlake");
    let mut config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .credentials_provider(credentials)
        // Other servers than Amazon's do not know the newer checksums.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if !s3.endpoint.is_empty() {
        if s3.endpoint.starts_with("http://") && !s3.allow_http {
            let message = "storage.s3.endpoint is plain http://; set storage.s3.allow_http = true if that is meant";
            return Err(StorageError::Invalid { message: message.to_owned() });
        }
        config = config.endpoint_url(&s3.endpoint).force_path_style(true);
    }
    Ok(Client::from_conf(config.build()))
}

impl Setup<'_> {
    fn step(&self, name: &'static str, detail: impl Into<String>) -> InitStep {
        let outcome = if self.mode == InitMode::DryRun { StepOutcome::WouldDo } else { StepOutcome::Done };
        InitStep::new(name, outcome, detail)
    }

    fn is_dry(&self) -> bool {
        self.mode == InitMode::DryRun
    }

    async fn make(&self) -> Result<InitStep, StorageError> {
        const NAME: &str = "bucket";
        let refused = |message: String| StorageError::Invalid { message };
        match self.client.head_bucket().bucket(self.bucket).send().await.map_err(trouble) {
            Ok(_) => return Ok(InitStep::new(NAME, StepOutcome::AlreadySo, format!("'{}' is there", self.bucket))),
            Err(Trouble::Missing) => {}
            Err(Trouble::Unsupported) => return Err(refused("the server does not speak S3".to_owned())),
            Err(Trouble::Other(reason)) => {
                return Err(refused(format!("cannot look at bucket '{}': {reason}", self.bucket)));
            }
        }
        if self.is_dry() {
            return Ok(self.step(NAME, format!("make '{}' in {}", self.bucket, self.region)));
        }
        let mut create = self.client.create_bucket().bucket(self.bucket);
        if self.region != DEFAULT_REGION {
            let place = BucketLocationConstraint::from(self.region.as_str());
            create = create
                .create_bucket_configuration(CreateBucketConfiguration::builder().location_constraint(place).build());
        }
        match create.send().await.map_err(trouble) {
            Ok(_) => Ok(self.step(NAME, format!("'{}' made in {}", self.bucket, self.region))),
            Err(other) => Err(refused(format!("cannot make bucket '{}': {}", self.bucket, said(other)))),
        }
    }

    async fn block_public_access(&self) -> InitStep {
        const NAME: &str = "public access";
        match self.client.get_public_access_block().bucket(self.bucket).send().await.map_err(trouble) {
            Ok(found) => {
                let all = |block: &PublicAccessBlockConfiguration| {
                    let PublicAccessBlockConfiguration {
                        block_public_acls,
                        ignore_public_acls,
                        block_public_policy,
                        restrict_public_buckets,
                        ..
                    } = block;
                    [block_public_acls, ignore_public_acls, block_public_policy, restrict_public_buckets]
                        .iter()
                        .all(|flag| **flag == Some(true))
                };
                if found.public_access_block_configuration().is_some_and(all) {
                    return InitStep::new(NAME, StepOutcome::AlreadySo, "blocked");
                }
            }
            Err(Trouble::Missing) => {}
            Err(other) => {
                return other.step(
                    NAME,
                    "the server has no setting to block public access; see that it is not reachable by strangers",
                );
            }
        }
        if self.is_dry() {
            return self.step(NAME, "block it");
        }
        let block = PublicAccessBlockConfiguration::builder()
            .block_public_acls(true)
            .ignore_public_acls(true)
            .block_public_policy(true)
            .restrict_public_buckets(true)
            .build();
        let put = self.client.put_public_access_block().bucket(self.bucket).public_access_block_configuration(block);
        match put.send().await.map_err(trouble) {
            Ok(_) => self.step(NAME, "blocked"),
            Err(other) => other.step(
                NAME,
                "the server has no setting to block public access; see that it is not reachable by strangers",
            ),
        }
    }

    async fn encrypt(&self) -> InitStep {
        const NAME: &str = "encryption";
        const UNSUPPORTED: &str = "the server does not encrypt by default; encrypt its disks";
        match self.client.get_bucket_encryption().bucket(self.bucket).send().await.map_err(trouble) {
            Ok(_) => return InitStep::new(NAME, StepOutcome::AlreadySo, "on by default"),
            Err(Trouble::Missing) => {}
            Err(other) => return other.step(NAME, UNSUPPORTED),
        }
        if self.is_dry() {
            return self.step(NAME, "switch it on (AES256, keys of the server's)");
        }
        let configuration = match encryption() {
            Ok(configuration) => configuration,
            Err(error) => return InitStep::new(NAME, StepOutcome::Failed, error.to_string()),
        };
        let put = self.client.put_bucket_encryption().bucket(self.bucket);
        match put.server_side_encryption_configuration(configuration).send().await.map_err(trouble) {
            Ok(_) => self.step(NAME, "on by default (AES256, keys of the server's)"),
            Err(other) => other.step(NAME, UNSUPPORTED),
        }
    }

    async fn rules(&self) -> Result<Vec<LifecycleRule>, Trouble> {
        match self.client.get_bucket_lifecycle_configuration().bucket(self.bucket).send().await.map_err(trouble) {
            Ok(found) => Ok(found.rules().to_vec()),
            Err(Trouble::Missing) => Ok(Vec::new()),
            Err(other) => Err(other),
        }
    }

    async fn end_unfinished_uploads(&self, rules: &Result<Vec<LifecycleRule>, Trouble>) -> InitStep {
        const NAME: &str = "unfinished uploads";
        const UNSUPPORTED: &str = "the server has no lifecycle rules: parts of uploads that a killed process began stay until you delete them";
        let rules = match rules {
            Ok(rules) => rules,
            Err(other) => return other.step(NAME, UNSUPPORTED),
        };
        if lifecycle::has_abort_rule(rules, self.prefix) {
            return InitStep::new(NAME, StepOutcome::AlreadySo, "ended after a day");
        }
        let kept = rules.len();
        if self.is_dry() {
            return self.step(NAME, format!("end them after a day, beside {kept} rules of yours"));
        }
        let configuration = lifecycle::merged(rules, self.prefix)
            .and_then(|rules| BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build());
        let configuration = match configuration {
            Ok(configuration) => configuration,
            Err(error) => return InitStep::new(NAME, StepOutcome::Failed, error.to_string()),
        };
        let put = self.client.put_bucket_lifecycle_configuration().bucket(self.bucket);
        match put.lifecycle_configuration(configuration).send().await.map_err(trouble) {
            Ok(_) => self.step(NAME, format!("ended after a day, beside {kept} rules of yours")),
            Err(other) => other.step(NAME, UNSUPPORTED),
        }
    }

    fn warn_of_expiry(&self, rules: &Result<Vec<LifecycleRule>, Trouble>) -> Option<InitStep> {
        let id = lifecycle::deletes_the_lake(rules.as_ref().ok()?, self.prefix)?;
        let detail =
            format!("rule '{id}' of yours deletes objects of the lake after a time: its tables would break; narrow it");
        Some(InitStep::new("expiry", StepOutcome::Advice, detail))
    }

    async fn versioning(&self, rules: &Result<Vec<LifecycleRule>, Trouble>) -> InitStep {
        const NAME: &str = "versioning";
        let on = match self.client.get_bucket_versioning().bucket(self.bucket).send().await.map_err(trouble) {
            Ok(found) => found.status() == Some(&BucketVersioningStatus::Enabled),
            Err(Trouble::Missing) => false,
            Err(other) => return other.step(NAME, "the server has no versioning; a lake needs none"),
        };
        let expires = rules.as_ref().is_ok_and(|rules| lifecycle::expires_noncurrent(rules, self.prefix));
        match (on, expires) {
            (false, _) => InitStep::new(NAME, StepOutcome::AlreadySo, "off: tables keep their own versions"),
            (true, true) => InitStep::new(NAME, StepOutcome::AlreadySo, "on, and old versions end"),
            (true, false) => InitStep::new(
                NAME,
                StepOutcome::Advice,
                "on, and old versions stay for ever: every file that compaction or vacuum deletes is still paid for. Add a \
                 lifecycle rule with NoncurrentVersionExpiration (7 days is plenty), or suspend versioning",
            ),
        }
    }
}

fn encryption() -> Result<ServerSideEncryptionConfiguration, BuildError> {
    let default = ServerSideEncryptionByDefault::builder().sse_algorithm(ServerSideEncryption::Aes256).build()?;
    let rule = ServerSideEncryptionRule::builder().apply_server_side_encryption_by_default(default).build();
    ServerSideEncryptionConfiguration::builder().rules(rule).build()
}

impl Trouble {
    fn step(&self, name: &'static str, unsupported: &str) -> InitStep {
        match self {
            Self::Unsupported => InitStep::new(name, StepOutcome::Unsupported, unsupported),
            Self::Missing => InitStep::new(name, StepOutcome::Failed, "the bucket is not there"),
            Self::Other(reason) => InitStep::new(name, StepOutcome::Failed, reason.clone()),
        }
    }
}

fn said(trouble: Trouble) -> String {
    match trouble {
        Trouble::Unsupported => "the server does not support it".to_owned(),
        Trouble::Missing => "it is not there".to_owned(),
        Trouble::Other(reason) => reason,
    }
}

/// What the server's refusal means. Status 404 without a code is a HEAD's.
fn trouble<E>(error: SdkError<E>) -> Trouble
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default().to_owned();
    match (status, code.as_str()) {
        (Some(501 | 405), _) | (_, "NotImplemented" | "MethodNotAllowed") => Trouble::Unsupported,
        (Some(404), _) => Trouble::Missing,
        (Some(403), _) => Trouble::Other(format!("permission denied ({})", named(&code, "AccessDenied"))),
        (Some(status), _) => {
            let message = error.as_service_error().and_then(ProvideErrorMetadata::message).unwrap_or_default();
            Trouble::Other(format!("the server answered {status} {code} {message}").trim_end().to_owned())
        }
        (None, _) => Trouble::Other(DisplayErrorContext(error).to_string()),
    }
}

fn named<'a>(code: &'a str, otherwise: &'a str) -> &'a str {
    if code.is_empty() { otherwise } else { code }
}
