//! Where in a cloud a model is called, as far as the name of its host tells.

/// The region in the name of a host: `us-east-1`, `europe-west4`, `eastus2`.
pub(in crate::llm) fn of_host(host: &str) -> Option<&str> {
    let host = host.trim_end_matches('.');
    let ends = |suffix: &str| {
        let at = host.len().checked_sub(suffix.len())?;
        let (before, end) = host.split_at_checked(at)?;
        end.eq_ignore_ascii_case(suffix).then_some(before)
    };
    let aws = || {
        let suffixes = [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"];
        of_aws(suffixes.into_iter().find_map(ends)?)
    };
    let google = || {
        let name = ends(".googleapis.com")?;
        name.strip_suffix("-aiplatform")
            .or_else(|| name.strip_prefix("aiplatform.")?.strip_suffix(".rep"))
    };
    let azure = || {
        let of_names = [".models.ai.azure.com", ".inference.ml.azure.com"];
        let name = of_names.into_iter().find_map(ends);
        let region = name.and_then(|name| Some(name.rsplit_once('.')?.1));
        region.or_else(|| ends(".api.cognitive.microsoft.com"))
    };
    aws()
        .or_else(google)
        .or_else(azure)
        .filter(|r| is_region(r))
}

/// The region that Azure's field `x-ms-region` names, as its hosts spell it.
pub(in crate::llm) fn of_azure_field(value: &str) -> Option<Box<str>> {
    let plain: String = value
        .chars()
        .filter(|c| *c != ' ')
        .map(|c| c.to_ascii_lowercase())
        .collect();
    is_region(&plain).then(|| plain.into())
}

/// What follows the name of the service: `vpce-1.bedrock-runtime.us-east-1.vpce`.
fn of_aws(name: &str) -> Option<&str> {
    let mut labels = name.split('.');
    labels.find(|label| label.starts_with("bedrock") || *label == "sagemaker")?;
    labels.next().filter(|label| label.contains('-'))
}

fn is_region(text: &str) -> bool {
    (2..=32).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_stand_in_hosts() {
        for (host, region) in [
            ("bedrock-runtime.us-east-1.amazonaws.com", Some("us-east-1")),
            (
                "bedrock-runtime-fips.us-gov-west-1.amazonaws.com.",
                Some("us-gov-west-1"),
            ),
            (
                "vpce-0a-1b.bedrock-runtime.eu-west-3.vpce.amazonaws.com",
                Some("eu-west-3"),
            ),
            (
                "bedrock-runtime.cn-north-1.amazonaws.com.cn",
                Some("cn-north-1"),
            ),
            ("bedrock-mantle.ap-south-1.api.aws", Some("ap-south-1")),
            (
                "runtime.sagemaker.eu-central-1.amazonaws.com",
                Some("eu-central-1"),
            ),
            ("s3.eu-central-1.amazonaws.com", None),
            ("bedrock-runtime.amazonaws.com", None),
            (
                "europe-west4-aiplatform.googleapis.com",
                Some("europe-west4"),
            ),
            ("aiplatform.eu.rep.googleapis.com", Some("eu")),
            (
                "aiplatform.europe-west1.rep.googleapis.com",
                Some("europe-west1"),
            ),
            ("aiplatform.googleapis.com", None),
            ("phi.eastus2.models.ai.azure.com", Some("eastus2")),
            (
                "swedencentral.api.cognitive.microsoft.com",
                Some("swedencentral"),
            ),
            ("phi.models.ai.azure.com", None),
            ("shop.openai.azure.com", None),
            ("api.openai.com", None),
            ("", None),
            ("é.amazonaws.com", None),
        ] {
            assert_eq!(of_host(host), region, "{host}");
        }
    }

    #[test]
    fn azure_says_it_in_a_field() {
        assert_eq!(of_azure_field("East US 2").as_deref(), Some("eastus2"));
        assert_eq!(of_azure_field("<script>"), None);
        assert_eq!(of_azure_field(""), None);
    }
}
