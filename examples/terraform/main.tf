# An account as code, for the stock AWS provider, against a running iamd:
#
#   iamd serve
#   eval "$(iamd env)"
#   terraform init && terraform apply
#
# One file a subject. Every IAM, STS and Organizations resource of the provider that
# iamd serves is in one of them, and what it needs of S3.

terraform {
  required_version = ">= 1.7"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

# The endpoint, the key and the region are in the environment: see `iamd env`.
provider "aws" {
  default_tags {
    tags = {
      managed-by = "terraform"
    }
  }
}

# A second value changes something of every resource that can be changed in place.
variable "stage" {
  description = "What the account is for: names nothing, but is in tags, descriptions and policies."
  type        = string
  default     = "test"

  validation {
    condition     = contains(["test", "production"], var.stage)
    error_message = "The stage is test or production."
  }
}

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_canonical_user_id" "current" {}

locals {
  account    = data.aws_caller_identity.current.account_id
  production = var.stage == "production"
}
