//! Who the sidecar is to AWS: a role by web identity, or what EKS Pod Identity gives to the pod's service account.

use serde_json::{Value, json};

use crate::names::AWS_VOLUME;

const PLACE: &str = "/var/run/secrets/lunasec.io/aws";
const TOKEN: &str = "/var/run/secrets/lunasec.io/aws/token";
/// Where EKS Pod Identity answers on a node, in clusters of IPv4 and of IPv6. AWS's SDKs ask nobody else.
pub const AGENTS: [&str; 2] = ["169.254.170.23", "[fd00:ec2::23]"];
/// The kubelet makes a new one when 80 % of it is over.
const LIFETIME: u32 = 86_400;

/// How the sidecar shows who it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Identity {
    /// As this role, whose policy trusts the cluster's issuer of tokens.
    Role(String),
    /// As the role that is associated with the pod's service account.
    Pod,
}

impl Identity {
    /// The volume with a token for AWS alone: it is no use against the Kubernetes API.
    pub fn volume(&self) -> Value {
        let audience = match self {
            Self::Role(_) => "sts.amazonaws.com",
            Self::Pod => "pods.eks.amazonaws.com",
        };
        let token = json!({"audience": audience, "expirationSeconds": LIFETIME, "path": "token"});
        json!({"name": AWS_VOLUME, "projected": {"sources": [{"serviceAccountToken": token}]}})
    }

    /// Where the sidecar, and nobody else, has it.
    pub fn mount(&self) -> Value {
        json!({"name": AWS_VOLUME, "mountPath": PLACE, "readOnly": true})
    }

    /// How the AWS SDK finds it; `agent` is one of `AGENTS`.
    pub fn variables(&self, agent: &str) -> Vec<(&'static str, String)> {
        match self {
            Self::Role(role) => vec![
                ("AWS_ROLE_ARN", role.clone()),
                ("AWS_WEB_IDENTITY_TOKEN_FILE", TOKEN.to_owned()),
            ],
            Self::Pod => vec![
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("http://{agent}/v1/credentials")),
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", TOKEN.to_owned()),
            ],
        }
    }
}

/// Reads the ARN of a role.
pub fn role(text: &str) -> Option<Identity> {
    let [arn, partition, service, region, account, resource] =
        text.splitn(6, ':').collect::<Vec<_>>().try_into().ok()?;
    let path = resource.strip_prefix("role/")?;
    let (_, name) = path.rsplit_once('/').unwrap_or(("", path));
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte);
    let good = arn == "arn"
        && is_partition(partition)
        && (service, region) == ("iam", "")
        && account.len() == 12
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && path.len() <= 576
        && name.len() <= 64
        && path.split('/').all(|part| !part.is_empty() && part.bytes().all(of_name));
    good.then(|| Identity::Role(text.to_owned()))
}

/// `aws`, `aws-cn`, `aws-us-gov`: the SDK makes a host's name of it.
fn is_partition(text: &str) -> bool {
    let mut words = text.split('-');
    words.next() == Some("aws") && words.all(is_word)
}

/// Reads a region, which is at least three words such as `us-gov-west-1`.
pub fn region(text: &str) -> Option<String> {
    let words: Vec<_> = text.split('-').collect();
    let [area, names @ .., number] = words.as_slice() else { return None };
    let good = is_word(area)
        // The one that is no country.
        && (area.len() == 2 || *area == "eusc")
        && !names.is_empty()
        && names.iter().all(|it| is_word(it))
        && matches!(number.as_bytes(), [b'0'..=b'9'])
        && text.len() <= 32;
    good.then(|| text.to_owned())
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_and_regions_have_a_form() {
        for good in [
            "arn:aws:iam::123456789012:role/shop",
            "arn:aws-us-gov:iam::123456789012:role/a/b.c",
            "arn:aws-cn:iam::123456789012:role/a",
        ] {
            assert_eq!(role(good), Some(Identity::Role(good.to_owned())));
        }
        for bad in [
            "",
            "arn:aws:iam::123456789012:user/shop",
            "arn:aws:iam::12345:role/shop",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::123456789012:role/a b",
            "arn:gcp:iam::123456789012:role/a",
            "arn:aws:s3:::123456789012:role/a",
            "arn:aws-evil.example:iam::123456789012:role/a",
            "arn:aws-:iam::123456789012:role/a",
            "arn:awsx:iam::123456789012:role/a",
            "arn:aws:iam::123456789012:role//a",
            "arn:aws:iam::123456789012:role/a/",
            "arn:aws:iam::123456789012:role/a:b",
        ] {
            assert_eq!(role(bad), None, "{bad}");
        }
        let long = format!("arn:aws:iam::123456789012:role/{}", "a".repeat(65));
        assert_eq!(role(&long), None);
        for good in ["us-gov-west-1", "eu-central-1", "us-isob-east-1", "eusc-de-east-1"] {
            assert_eq!(region(good).as_deref(), Some(good));
        }
        for bad in [
            "",
            "eu",
            "eu-1",
            "eu-central",
            "eu-central-",
            "EU-central-1",
            "eu--1",
            "eu-central-123",
            "eu-central-12",
            "evil-attacker-1",
            "eu-central.example-1",
            "eu-central-1\n",
        ] {
            assert_eq!(region(bad), None, "{bad}");
        }
    }
}
