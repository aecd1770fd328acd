# Roles: who may assume them, and what they may do then.

data "aws_iam_policy_document" "trust_account" {
  statement {
    actions = ["sts:AssumeRole", "sts:TagSession"]
    principals {
      type        = "AWS"
      identifiers = ["arn:aws:iam::${local.account}:root"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:PrincipalTag/stage"
      values   = [var.stage]
    }
  }
}

data "aws_iam_policy_document" "trust_alice" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "AWS"
      identifiers = [aws_iam_user.alice.arn]
    }
    condition {
      test     = "StringEquals"
      variable = "sts:ExternalId"
      values   = ["terraform-${var.stage}"]
    }
  }
}

data "aws_iam_policy_document" "trust_ec2" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "reader" {
  name                  = "reader"
  path                  = "/reports/"
  description           = "Reads the reports of ${var.stage}."
  assume_role_policy    = data.aws_iam_policy_document.trust_account.json
  max_session_duration  = local.production ? 7200 : 3600
  permissions_boundary  = aws_iam_policy.ceiling.arn
  force_detach_policies = true
  tags                  = { stage = var.stage }
}

resource "aws_iam_role" "auditor" {
  name               = "auditor"
  assume_role_policy = data.aws_iam_policy_document.trust_alice.json
}

resource "aws_iam_role" "shared" {
  name_prefix        = "shared-"
  assume_role_policy = data.aws_iam_policy_document.trust_account.json
}

resource "aws_iam_role" "server" {
  name               = "server"
  assume_role_policy = data.aws_iam_policy_document.trust_ec2.json
}

resource "aws_iam_role_policy" "reader" {
  name   = "list"
  role   = aws_iam_role.reader.name
  policy = data.aws_iam_policy_document.list.json
}

resource "aws_iam_role_policies_exclusive" "reader" {
  role_name    = aws_iam_role.reader.name
  policy_names = [aws_iam_role_policy.reader.name]
}

resource "aws_iam_role_policy_attachment" "reader" {
  role       = aws_iam_role.reader.name
  policy_arn = aws_iam_policy.read_reports.arn
}

resource "aws_iam_role_policy_attachment" "auditor" {
  for_each   = toset(concat(["arn:aws:iam::aws:policy/SecurityAudit"], local.production ? ["arn:aws:iam::aws:policy/IAMReadOnlyAccess"] : []))
  role       = aws_iam_role.auditor.name
  policy_arn = each.value
}

resource "aws_iam_role_policy_attachments_exclusive" "reader" {
  role_name   = aws_iam_role.reader.name
  policy_arns = [aws_iam_role_policy_attachment.reader.policy_arn]
}

resource "aws_iam_instance_profile" "server" {
  name = "server"
  path = "/servers/"
  role = local.production ? aws_iam_role.server.name : aws_iam_role.reader.name
  tags = { stage = var.stage }
}

data "aws_iam_role" "reader" {
  name = aws_iam_role.reader.name
}

data "aws_iam_roles" "reports" {
  path_prefix = "/reports/"
  depends_on  = [aws_iam_role.reader]
}

data "aws_iam_instance_profile" "server" {
  name = aws_iam_instance_profile.server.name
}

data "aws_iam_instance_profiles" "server" {
  role_name = aws_iam_instance_profile.server.role
}

data "aws_iam_session_context" "reader" {
  arn = "arn:aws:sts::${local.account}:assumed-role/${aws_iam_role.auditor.name}/alice"
}

# The service says what the role may do.
resource "aws_iam_service_linked_role" "autoscaling" {
  aws_service_name = "autoscaling.amazonaws.com"
  custom_suffix    = "terraform"
  description      = "Scales the servers of ${var.stage}."
  tags             = { stage = var.stage }
}
