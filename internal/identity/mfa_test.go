package identity

import (
	"encoding/base32"
	"errors"
	"testing"
	"time"
)

// The device of the test vectors of RFC 6238, appendix B: SHA-1, the last six of its
// eight digits.
func vectorDevice(t *testing.T) (*Keyring, *MFADevice) {
	t.Helper()
	vault, err := NewVault(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	k := NewKeyring(vault)
	d := &MFADevice{ID: "AMFATEST"}
	d.Sealed = vault.Seal(d.ID, NewSecret(base32.StdEncoding.EncodeToString([]byte("12345678901234567890"))))
	return k, d
}

func TestCodesOfRFC6238(t *testing.T) {
	for _, c := range []struct {
		at   int64
		code string
	}{
		{59, "287082"}, {1111111109, "081804"}, {1111111111, "050471"}, {1234567890, "005924"}, {2000000000, "279037"}, {20000000000, "353130"},
	} {
		k, d := vectorDevice(t)
		for _, off := range []int64{-60, 60} {
			if c.at+off < 0 {
				continue
			}
			if refusal, err := k.spend(d, time.Unix(c.at+off, 0), toleratedSteps, c.code); !errors.Is(refusal, ErrWrongCode) || err != nil {
				t.Errorf("%s at %d seconds, %d off: %v, %v, want %v", c.code, c.at, off, refusal, err, ErrWrongCode)
			}
		}
		if refusal, err := k.spend(d, time.Unix(c.at, 0), toleratedSteps, c.code); refusal != nil || err != nil {
			t.Errorf("%s at %d seconds: %v, %v", c.code, c.at, refusal, err)
		}
		if refusal, err := k.spend(d, time.Unix(c.at, 0), toleratedSteps, c.code); !errors.Is(refusal, ErrWrongCode) || err != nil {
			t.Errorf("%s at %d seconds, again: %v, %v, want %v", c.code, c.at, refusal, err, ErrWrongCode)
		}
	}
}

// A code that is a step late or early is accepted; what it leaves behind is spent.
func TestCodesAStepOff(t *testing.T) {
	k, d := vectorDevice(t)
	const late, next = "081804", "050471" // of the steps of 1111111109 and 1111111111
	if refusal, err := k.spend(d, time.Unix(1111111111+28, 0), toleratedSteps, late); refusal != nil || err != nil {
		t.Fatalf("a code that is a step late: %v, %v", refusal, err)
	}
	if refusal, err := k.spend(d, time.Unix(1111111109, 0), toleratedSteps, next); refusal != nil || err != nil {
		t.Fatalf("a code that is a step early: %v, %v", refusal, err)
	}
	if refusal, _ := k.spend(d, time.Unix(1111111109, 0), toleratedSteps, late); !errors.Is(refusal, ErrWrongCode) {
		t.Errorf("the code of a step before the last that was accepted: %v, want %v", refusal, ErrWrongCode)
	}
}

// A clock that is wrong is found out once, and codes are looked for by it from then on.
func TestDriftingClocks(t *testing.T) {
	k, d := vectorDevice(t)
	behind := time.Unix(1111111111, 0).Add(20 * time.Minute) // by our clock, when the device shows these
	const one, two = "081804", "050471"
	if refusal, _ := k.EnableMFADevice(d, one, two, behind); !errors.Is(refusal, ErrWrongCode) {
		t.Fatalf("enabling a device whose clock is 20 minutes behind: %v, want %v", refusal, ErrWrongCode)
	}
	if refusal, err := k.SyncMFADevice(d, one, two, behind); refusal != nil || err != nil {
		t.Fatalf("synchronising a device whose clock is 20 minutes behind: %v, %v", refusal, err)
	}
	if want := int64(-40); d.Drift != want {
		t.Errorf("the device's clock is %d steps ahead, want %d", d.Drift, want)
	}
	later := time.Unix(1234567890, 0)
	if refusal, _ := k.spend(d, later, toleratedSteps, "005924"); !errors.Is(refusal, ErrWrongCode) {
		t.Errorf("the code of a right clock: %v, want %v", refusal, ErrWrongCode)
	}
	if refusal, err := k.spend(d, later.Add(20*time.Minute), toleratedSteps, "005924"); refusal != nil || err != nil {
		t.Errorf("the code of the device's clock: %v, %v", refusal, err)
	}
}

func TestAttempts(t *testing.T) {
	var a Attempts
	now := time.Unix(1111111111, 0)
	for i, want := range []time.Duration{0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60} {
		a.Add(now)
		if got := max(0, a.Until.Sub(now)); got != want*time.Minute {
			t.Errorf("after %d wrong guesses there is no more for %v, want %v", i+1, got, want*time.Minute)
		}
	}
	for range 1000 {
		a.Add(now)
	}
	if got := a.Until.Sub(now); got != longestStop {
		t.Errorf("after a thousand wrong guesses there is no more for %v, want %v", got, longestStop)
	}
	if !a.Stopped(now.Add(longestStop-1)) || a.Stopped(now.Add(longestStop)) {
		t.Error("the stop does not end when it should")
	}
}

// Seeds are sealed for one device: moved to another they do not open, and nothing is accepted.
func TestSeedsAreSealed(t *testing.T) {
	k, d := vectorDevice(t)
	d.ID = "AMFAOTHER"
	if refusal, err := k.spend(d, time.Unix(59, 0), toleratedSteps, "287082"); err == nil || refusal != nil {
		t.Errorf("a seed of another device: %v, %v, want an error of ours", refusal, err)
	}
}
