//! The function's environment variables, read once.

use std::collections::HashMap;
use std::time::Duration;

use tidegate_core::{Error, Result, units};

/// What the function is told by its environment.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `TIDEGATE_PIPELINE`: the pipeline file, a path beside the function's code or `s3://BUCKET/KEY`.
    pub pipeline: String,
    /// `TIDEGATE_TABLE`: the DynamoDB table of commits.
    pub table: String,
    /// `TIDEGATE_BUCKET`: the bucket of large commits.
    pub bucket: String,
    /// `TIDEGATE_DEAD_LETTER_QUEUE`: URL of the SQS queue of dead letters, unless the pipeline file names one.
    pub dead_letter_queue: Option<String>,
    /// `TIDEGATE_REST_AFTER`: how long after its writer's deadline a head counts as resting; a duration such as `2m`.
    pub rest_after: Option<Duration>,
    /// Everything, for `${NAME}` in the pipeline file and secrets by `env`.
    pub environment: HashMap<String, String>,
}

impl Settings {
    /// Reads the process's environment.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn from_process() -> Result<Self> {
        Self::from_environment(std::env::vars().collect())
    }

    /// Whether S3 is reached by path: an endpoint of one's own has no name per bucket.
    pub fn path_style(&self) -> bool {
        ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"].iter().any(|name| self.environment.contains_key(*name))
    }

    fn from_environment(environment: HashMap<String, String>) -> Result<Self> {
        let needed = |name: &str| {
            environment.get(name).filter(|value| !value.is_empty()).cloned().ok_or_else(|| {
                Error::invalid(format!("the environment variable {name} is not set")).with_help(
                    "the function needs TIDEGATE_PIPELINE, TIDEGATE_TABLE and TIDEGATE_BUCKET; see template.yaml",
                )
            })
        };
        Ok(Self {
            pipeline: needed("TIDEGATE_PIPELINE")?,
            table: needed("TIDEGATE_TABLE")?,
            bucket: needed("TIDEGATE_BUCKET")?,
            dead_letter_queue: needed("TIDEGATE_DEAD_LETTER_QUEUE").ok(),
            rest_after: needed("TIDEGATE_REST_AFTER").ok().map(|text| rest_after(&text)).transpose()?,
            environment,
        })
    }
}

fn rest_after(text: &str) -> Result<Duration> {
    units::parse_duration(text).map_err(|error| {
        error.within("the environment variable TIDEGATE_REST_AFTER").with_help("a duration, for example 2m or 30s")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_variable_is_named() {
        let some = [("TIDEGATE_PIPELINE", "p.yaml"), ("TIDEGATE_TABLE", "t")];
        let environment = some.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let error = Settings::from_environment(environment).unwrap_err().to_string();
        assert!(error.contains("TIDEGATE_BUCKET"), "{error}");
    }

    #[test]
    fn a_time_of_rest_is_a_duration() {
        let with = |text: &str| {
            let all = ["TIDEGATE_PIPELINE", "TIDEGATE_TABLE", "TIDEGATE_BUCKET"].map(|name| (name, "x"));
            let all = all.into_iter().chain([("TIDEGATE_REST_AFTER", text)]);
            Settings::from_environment(all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
        };
        assert_eq!(with("90s").unwrap().rest_after, Some(Duration::from_secs(90)));
        assert_eq!(with("").unwrap().rest_after, None);
        let error = with("soon").unwrap_err().to_string();
        assert!(error.contains("TIDEGATE_REST_AFTER"), "{error}");
    }
}
