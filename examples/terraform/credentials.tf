# What people prove with that they are who they are.

resource "aws_iam_virtual_mfa_device" "bob" {
  virtual_mfa_device_name = "bob"
  path                    = "/people/"
  tags                    = { stage = var.stage }
}
