//! Amazon Bedrock's dialects.

pub(super) mod agent;
mod content;
pub(super) mod converse;
pub(super) mod invoke;
pub(super) mod titan;

pub(super) const BEDROCK: &str = "aws.bedrock";
