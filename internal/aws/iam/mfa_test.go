package iam_test

import (
	"bytes"
	"image/png"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/boombuler/barcode"
	"github.com/boombuler/barcode/qr"

	"github.com/iamd-dev/iamd/internal/awstest"
)

// The picture is the QR code of the otpauth URI that AWS describes.
func TestQRCode(t *testing.T) {
	t.Parallel()
	s := awstest.Start(t)
	client := s.IAM(s.Config(s.Root(awstest.DefaultAccount)))
	if _, err := client.CreateAccountAlias(t.Context(), &iam.CreateAccountAliasInput{AccountAlias: aws.String("acme")}); err != nil {
		t.Fatal(err)
	}
	out, err := client.CreateVirtualMFADevice(t.Context(), &iam.CreateVirtualMFADeviceInput{VirtualMFADeviceName: aws.String("my+phone")})
	if err != nil {
		t.Fatal(err)
	}
	got, err := png.Decode(bytes.NewReader(out.VirtualMFADevice.QRCodePNG))
	if err != nil {
		t.Fatal(err)
	}
	code, err := qr.Encode("otpauth://totp/my+phone@acme?secret="+string(out.VirtualMFADevice.Base32StringSeed), qr.M, qr.Auto)
	if err != nil {
		t.Fatal(err)
	}
	want, err := barcode.Scale(code, got.Bounds().Dx(), got.Bounds().Dy())
	if err != nil {
		t.Fatal(err)
	}
	for y := range got.Bounds().Dy() {
		for x := range got.Bounds().Dx() {
			g, _, _, _ := got.At(x, y).RGBA()
			w, _, _, _ := want.At(x, y).RGBA()
			if g != w {
				t.Fatalf("the pixel at %d,%d is %d, want %d", x, y, g, w)
			}
		}
	}
}
