# People: users, groups, who is in which, and what they may do.

resource "aws_iam_user" "alice" {
  name                 = "alice"
  path                 = "/people/${var.stage}/"
  permissions_boundary = local.production ? aws_iam_policy.ceiling.arn : null
  force_destroy        = true
  tags = {
    stage = var.stage
    team  = "storage"
  }
}

resource "aws_iam_user" "bob" {
  name = "bob"
  path = "/people/"
}

# Gets a new name. Its tags stay as they are: the provider before 6.27 asks for a
# change of them under the new name before it gives that, and is refused, as by AWS.
resource "aws_iam_user" "contractor" {
  name          = "contractor-${var.stage}"
  force_destroy = true
  tags          = { until = "2030-01-01" }
}

resource "aws_iam_group" "readers" {
  name = "readers"
  path = "/${var.stage}/"
}

resource "aws_iam_group" "writers" {
  name = "writers"
}

# All members of a group ...
resource "aws_iam_group_membership" "readers" {
  name  = "readers"
  group = aws_iam_group.readers.name
  users = concat([aws_iam_user.bob.name], local.production ? [aws_iam_user.contractor.name] : [])
}

# ... or the groups of a user.
resource "aws_iam_user_group_membership" "alice" {
  user   = aws_iam_user.alice.name
  groups = [aws_iam_group.writers.name]
}

resource "aws_iam_user_policy" "alice" {
  name   = "own-prefix"
  user   = aws_iam_user.alice.name
  policy = data.aws_iam_policy_document.own_prefix.json
}

resource "aws_iam_user_policies_exclusive" "alice" {
  user_name    = aws_iam_user.alice.name
  policy_names = [aws_iam_user_policy.alice.name]
}

resource "aws_iam_user_policy_attachment" "alice" {
  user       = aws_iam_user.alice.name
  policy_arn = aws_iam_policy.read_reports.arn
}

resource "aws_iam_user_policy_attachments_exclusive" "alice" {
  user_name   = aws_iam_user.alice.name
  policy_arns = [aws_iam_user_policy_attachment.alice.policy_arn]
}

resource "aws_iam_group_policy" "readers" {
  name   = "list"
  group  = aws_iam_group.readers.name
  policy = data.aws_iam_policy_document.list.json
}

resource "aws_iam_group_policies_exclusive" "readers" {
  group_name   = aws_iam_group.readers.name
  policy_names = [aws_iam_group_policy.readers.name]
}

resource "aws_iam_group_policy_attachment" "readers" {
  group      = aws_iam_group.readers.name
  policy_arn = "arn:aws:iam::aws:policy/job-function/ViewOnlyAccess"
}

resource "aws_iam_group_policy_attachments_exclusive" "readers" {
  group_name  = aws_iam_group.readers.name
  policy_arns = [aws_iam_group_policy_attachment.readers.policy_arn]
}

resource "aws_iam_access_key" "alice" {
  user   = aws_iam_user.alice.name
  status = local.production ? "Inactive" : "Active"
}

data "aws_iam_user" "alice" {
  user_name = aws_iam_user.alice.name
}

data "aws_iam_users" "people" {
  path_prefix = "/people/"
  depends_on  = [aws_iam_user.alice, aws_iam_user.bob]
}

data "aws_iam_group" "readers" {
  group_name = aws_iam_group_membership.readers.group
}

data "aws_iam_access_keys" "alice" {
  user       = aws_iam_user.alice.name
  depends_on = [aws_iam_access_key.alice]
}
