# What people prove with that they are who they are, and the rules for it. The
# certificates and keys in files/ are examples: everybody has them.

resource "aws_iam_account_alias" "account" {
  account_alias = "storage-team-${var.stage}"
}

resource "aws_iam_account_password_policy" "strict" {
  minimum_password_length        = local.production ? 16 : 12
  require_lowercase_characters   = true
  require_uppercase_characters   = true
  require_numbers                = true
  require_symbols                = local.production
  allow_users_to_change_password = true
  max_password_age               = 90
  password_reuse_prevention      = 24
}

# The password is made by the provider and is in its state.
resource "aws_iam_user_login_profile" "bob" {
  user            = aws_iam_user.bob.name
  password_length = 24
  depends_on      = [aws_iam_account_password_policy.strict]

  lifecycle {
    ignore_changes = [password_length, password_reset_required] # an import cannot tell them
  }
}

resource "aws_iam_virtual_mfa_device" "bob" {
  virtual_mfa_device_name = "bob"
  path                    = "/people/"
  tags                    = { stage = var.stage }
}

resource "aws_iam_user_ssh_key" "bob" {
  username   = aws_iam_user.bob.name
  encoding   = "SSH"
  public_key = file("${path.module}/files/ssh.pub")
  status     = local.production ? "Inactive" : "Active"
}

resource "aws_iam_signing_certificate" "bob" {
  user_name        = aws_iam_user.bob.name
  certificate_body = file("${path.module}/files/signing.pem")
  status           = local.production ? "Inactive" : "Active"
}

resource "aws_iam_service_specific_credential" "bob" {
  user_name    = aws_iam_user.bob.name
  service_name = "codecommit.amazonaws.com"
  status       = local.production ? "Inactive" : "Active"
}

resource "aws_iam_server_certificate" "www" {
  name             = "www"
  path             = "/cloudfront/${var.stage}/"
  certificate_body = file("${path.module}/files/server.pem")
  private_key      = file("${path.module}/files/server.key")
  tags             = { stage = var.stage }
}

data "aws_iam_account_alias" "account" {
  depends_on = [aws_iam_account_alias.account]
}

data "aws_iam_server_certificate" "www" {
  name       = aws_iam_server_certificate.www.name
  depends_on = [aws_iam_server_certificate.www]
}

data "aws_iam_user_ssh_key" "bob" {
  username          = aws_iam_user_ssh_key.bob.username
  ssh_public_key_id = aws_iam_user_ssh_key.bob.ssh_public_key_id
  encoding          = "SSH"
}
