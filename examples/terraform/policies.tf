# Managed policies and the documents that the rest attaches.

data "aws_iam_policy_document" "read_reports" {
  statement {
    sid       = "Read"
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.reports.arn}/${var.stage}/*"]
  }
  statement {
    sid       = "List"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.reports.arn]
    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["${var.stage}/*"]
    }
  }
}

data "aws_iam_policy_document" "own_prefix" {
  statement {
    actions   = ["s3:*Object"]
    resources = ["${aws_s3_bucket.reports.arn}/${var.stage}/&{aws:username}/*"]
  }
}

data "aws_iam_policy_document" "list" {
  statement {
    actions   = ["s3:ListBucket", "s3:ListAllMyBuckets"]
    resources = ["*"]
    condition {
      test     = "StringEquals"
      variable = "aws:PrincipalTag/stage"
      values   = [var.stage]
    }
  }
}

data "aws_iam_policy_document" "ceiling" {
  statement {
    actions   = ["s3:*", "sts:*", "iam:Get*", "iam:List*"]
    resources = ["*"]
  }
  statement {
    effect    = "Deny"
    actions   = ["s3:DeleteBucket"]
    resources = ["*"]
  }
}

# A changed document is a new version of the policy.
resource "aws_iam_policy" "read_reports" {
  name        = "read-reports"
  path        = "/reports/"
  description = "Read the reports."
  policy      = data.aws_iam_policy_document.read_reports.json
  tags        = { stage = var.stage }
}

resource "aws_iam_policy" "ceiling" {
  name   = "ceiling"
  policy = data.aws_iam_policy_document.ceiling.json
}

# One policy on several at once; nobody else has it.
resource "aws_iam_policy" "shared" {
  name = "shared"
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:GetCallerIdentity", Resource = "*" }]
  })
}

resource "aws_iam_policy_attachment" "shared" {
  name       = "shared"
  policy_arn = aws_iam_policy.shared.arn
  users      = local.production ? [] : [aws_iam_user.bob.name]
  groups     = [aws_iam_group.writers.name]
  roles      = [aws_iam_role.shared.name]
}

data "aws_iam_policy" "read_only" {
  name = "ReadOnlyAccess"
}

data "aws_iam_policy" "read_reports" {
  arn = aws_iam_policy.read_reports.arn
}

# What alice may do, as the policy simulator decides it.
data "aws_iam_principal_policy_simulation" "alice_reads" {
  policy_source_arn = aws_iam_user.alice.arn
  action_names      = ["s3:GetObject"]
  resource_arns     = ["${aws_s3_bucket.reports.arn}/${var.stage}/q3.txt"]
  depends_on        = [aws_iam_user_policy_attachment.alice, aws_iam_user_policy.alice]

  lifecycle {
    postcondition {
      condition     = self.all_allowed
      error_message = "alice cannot read the reports of her stage: ${jsonencode(self.results)}"
    }
  }
}

data "aws_iam_principal_policy_simulation" "alice_deletes" {
  policy_source_arn = aws_iam_user.alice.arn
  action_names      = ["s3:DeleteBucket", "iam:CreateUser"]
  depends_on        = [aws_iam_user_policy_attachment.alice, aws_iam_user_policy.alice]

  lifecycle {
    postcondition {
      condition     = alltrue([for r in self.results : !r.allowed])
      error_message = "alice may do more than she should: ${jsonencode(self.results)}"
    }
  }
}
