# Identity providers, and roles for those whom they know.

resource "aws_iam_openid_connect_provider" "github" {
  url             = "https://token.actions.githubusercontent.com"
  client_id_list  = concat(["sts.amazonaws.com"], local.production ? ["https://github.com/example"] : [])
  thumbprint_list = ["6938fd4d98bab03faadb97b34396831e3780aea1"]
  tags            = { stage = var.stage }
}

resource "aws_iam_saml_provider" "company" {
  name                   = "company"
  saml_metadata_document = file("${path.module}/files/idp.xml")
  tags                   = { stage = var.stage }
}

data "aws_iam_policy_document" "trust_github" {
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = [aws_iam_openid_connect_provider.github.arn]
    }
    condition {
      test     = "StringEquals"
      variable = "token.actions.githubusercontent.com:aud"
      values   = ["sts.amazonaws.com"]
    }
    condition {
      test     = "StringLike"
      variable = "token.actions.githubusercontent.com:sub"
      values   = ["repo:example/reports:environment:${var.stage}"]
    }
  }
}

data "aws_iam_policy_document" "trust_company" {
  statement {
    actions = ["sts:AssumeRoleWithSAML"]
    principals {
      type        = "Federated"
      identifiers = [aws_iam_saml_provider.company.arn]
    }
    condition {
      test     = "StringEquals"
      variable = "SAML:aud"
      values   = ["https://signin.aws.amazon.com/saml"]
    }
  }
}

resource "aws_iam_role" "deploy" {
  name               = "deploy"
  assume_role_policy = data.aws_iam_policy_document.trust_github.json
}

resource "aws_iam_role" "employee" {
  name               = "employee"
  assume_role_policy = data.aws_iam_policy_document.trust_company.json
}

data "aws_iam_openid_connect_provider" "github" {
  arn = aws_iam_openid_connect_provider.github.arn
}

data "aws_iam_saml_provider" "company" {
  arn = aws_iam_saml_provider.company.arn
}
