# An organisation: accounts in organizational units, and what they may do at most.

resource "aws_organizations_organization" "all" {
  feature_set                   = "ALL"
  aws_service_access_principals = ["iam.amazonaws.com", "config.amazonaws.com"]
  enabled_policy_types          = concat(["SERVICE_CONTROL_POLICY", "RESOURCE_CONTROL_POLICY"], local.production ? ["TAG_POLICY"] : [])
}

resource "aws_iam_organizations_features" "root" {
  enabled_features = concat(["RootCredentialsManagement"], local.production ? ["RootSessions"] : [])
  depends_on       = [aws_organizations_organization.all]
}

resource "aws_organizations_organizational_unit" "workloads" {
  name      = "workloads-${var.stage}"
  parent_id = aws_organizations_organization.all.roots[0].id
  tags      = { stage = var.stage }
}

resource "aws_organizations_organizational_unit" "sandbox" {
  name      = "sandbox"
  parent_id = aws_organizations_organizational_unit.workloads.id
}

# Destroyed, the account leaves the organisation and goes on by itself.
resource "aws_organizations_account" "reports" {
  name      = "reports"
  email     = "reports@example.com"
  role_name = "OrganizationAccountAccessRole"
  parent_id = local.production ? aws_organizations_organizational_unit.workloads.id : aws_organizations_organizational_unit.sandbox.id
  tags      = { stage = var.stage }

  lifecycle {
    ignore_changes = [role_name] # an import cannot tell it
  }
}

data "aws_iam_policy_document" "only_stage" {
  statement {
    effect    = "Deny"
    actions   = ["organizations:LeaveOrganization", "s3:DeleteBucket"]
    resources = ["*"]
    condition {
      test     = "StringNotEquals"
      variable = "aws:PrincipalTag/stage"
      values   = [var.stage]
    }
  }
}

resource "aws_organizations_policy" "only_stage" {
  name        = "only-stage"
  description = "For ${var.stage}."
  type        = "SERVICE_CONTROL_POLICY"
  content     = data.aws_iam_policy_document.only_stage.json
  tags        = { stage = var.stage }
  depends_on  = [aws_organizations_organization.all]
}

resource "aws_organizations_policy" "only_ours" {
  name = "only-ours"
  type = "RESOURCE_CONTROL_POLICY"
  content = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = "*"
      Condition = {
        StringNotEqualsIfExists = { "aws:PrincipalOrgID" = aws_organizations_organization.all.id }
        BoolIfExists            = { "aws:PrincipalIsAWSService" = "false" }
      }
    }]
  })
}

resource "aws_organizations_policy_attachment" "only_stage" {
  policy_id = aws_organizations_policy.only_stage.id
  target_id = aws_organizations_organizational_unit.workloads.id
}

resource "aws_organizations_policy_attachment" "only_ours" {
  policy_id = aws_organizations_policy.only_ours.id
  target_id = aws_organizations_account.reports.id
}

resource "aws_organizations_delegated_administrator" "config" {
  account_id        = aws_organizations_account.reports.id
  service_principal = "config.amazonaws.com"
}

resource "aws_organizations_resource_policy" "read" {
  content = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { AWS = "arn:aws:iam::${aws_organizations_account.reports.id}:root" }
      Action    = concat(["organizations:DescribeOrganization"], local.production ? ["organizations:ListAccounts"] : [])
      Resource  = "*"
    }]
  })
  tags = { stage = var.stage }
}

data "aws_organizations_organization" "all" {
  depends_on = [aws_organizations_account.reports]
}

data "aws_organizations_organizational_units" "top" {
  parent_id  = aws_organizations_organization.all.roots[0].id
  depends_on = [aws_organizations_organizational_unit.workloads]
}

data "aws_organizations_organizational_unit" "sandbox" {
  parent_id = aws_organizations_organizational_unit.sandbox.parent_id
  name      = aws_organizations_organizational_unit.sandbox.name
}

data "aws_organizations_organizational_unit_child_accounts" "workloads" {
  parent_id  = aws_organizations_organizational_unit.workloads.id
  depends_on = [aws_organizations_account.reports]
}

data "aws_organizations_organizational_unit_descendant_accounts" "all" {
  parent_id  = aws_organizations_organization.all.roots[0].id
  depends_on = [aws_organizations_account.reports]
}

data "aws_organizations_organizational_unit_descendant_organizational_units" "all" {
  parent_id  = aws_organizations_organization.all.roots[0].id
  depends_on = [aws_organizations_organizational_unit.sandbox]
}

data "aws_organizations_policies" "scp" {
  filter     = "SERVICE_CONTROL_POLICY"
  depends_on = [aws_organizations_policy.only_stage]
}

data "aws_organizations_policies_for_target" "workloads" {
  target_id  = aws_organizations_organizational_unit.workloads.id
  filter     = "SERVICE_CONTROL_POLICY"
  depends_on = [aws_organizations_policy_attachment.only_stage]
}

data "aws_organizations_policy" "full" {
  policy_id  = "p-FullAWSAccess"
  depends_on = [aws_organizations_organization.all]
}

data "aws_organizations_resource_tags" "reports" {
  resource_id = aws_organizations_account.reports.id
}

data "aws_organizations_delegated_administrators" "config" {
  service_principal = aws_organizations_delegated_administrator.config.service_principal
}

data "aws_organizations_delegated_services" "reports" {
  account_id = aws_organizations_delegated_administrator.config.account_id
}
