package sts_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/pquerna/otp/totp"

	"github.com/iamd-dev/iamd/internal/awstest"
)

// Twenty calls at once with one code are one session, and twenty wrong codes at once
// are no more guesses than one after the other.
func TestCodesAtOnce(t *testing.T) {
	t.Parallel()
	s := awstest.Start(t)
	root := s.Config(s.Root(awstest.DefaultAccount))
	ctx := t.Context()
	device, err := s.IAM(root).CreateVirtualMFADevice(ctx, &iam.CreateVirtualMFADeviceInput{VirtualMFADeviceName: aws.String("d")})
	if err != nil {
		t.Fatal(err)
	}
	serial, seed := device.VirtualMFADevice.SerialNumber, string(device.VirtualMFADevice.Base32StringSeed)
	code := func(later time.Duration) *string {
		c, err := totp.GenerateCode(seed, s.Now().Add(later))
		if err != nil {
			t.Fatal(err)
		}
		return &c
	}
	if _, err := s.IAM(root).EnableMFADevice(ctx, &iam.EnableMFADeviceInput{
		UserName: aws.String("root"), SerialNumber: serial, AuthenticationCode1: code(0), AuthenticationCode2: code(30 * time.Second),
	}); err != nil {
		t.Fatal(err)
	}
	s.Advance(2 * time.Minute)

	atOnce := func(code *string) (accepted, wrong, stopped int32) {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				_, err := s.STS(root).GetSessionToken(ctx, &sts.GetSessionTokenInput{SerialNumber: serial, TokenCode: code})
				switch {
				case err == nil:
					atomic.AddInt32(&accepted, 1)
				case strings.Contains(err.Error(), "with invalid MFA one time pass code"):
					atomic.AddInt32(&wrong, 1)
				case strings.Contains(err.Error(), "too many invalid"):
					atomic.AddInt32(&stopped, 1)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		return accepted, wrong, stopped
	}
	if accepted, wrong, stopped := atOnce(code(0)); accepted != 1 || wrong != 5 || stopped != 14 {
		t.Errorf("of 20 calls with one code %d were accepted, %d refused and %d not looked at, want 1, 5 and 14", accepted, wrong, stopped)
	}
	s.Advance(2 * time.Minute)
	if accepted, wrong, stopped := atOnce(aws.String("000000")); accepted != 0 || wrong != 1 || stopped != 19 {
		t.Errorf("of 20 wrong codes after 5 wrong ones %d were accepted, %d looked at and %d not, want 0, 1 and 19", accepted, wrong, stopped)
	}
}
