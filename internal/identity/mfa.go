package identity

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"time"

	"github.com/pquerna/otp/hotp"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/store"
)

// An MFADevice is a virtual MFA device: a seed that an authenticator app has, too,
// so that it and we can compute the code of every thirty seconds (RFC 6238).
//
// A code is good once. Step is the time step of the last one that was accepted, and
// neither that code nor an older one is accepted again, for whatever purpose, by
// whichever server of the store; deactivating the device does not forget it.
type MFADevice struct {
	ID           string // unique, and never shown: AWS has none for devices
	Name         string
	SerialNumber string // the device's ARN
	Created      time.Time
	Tags         []api.Tag `json:",omitempty"`
	Sealed       string    // the seed, by the Vault, under ID

	Owner   string    `json:",omitempty"` // unique id of the user, or id of the account whose root has it; "" for nobody
	Enabled time.Time `json:",omitzero"`

	Step  int64    // of the last code accepted
	Drift int64    // how many steps the device's clock is ahead of ours, as found when it was synchronised
	Wrong Attempts // codes since the last right one
}

// Why a code was not accepted.
var (
	ErrNoDevice     = errors.New("the MFA device is unknown or another user's")
	ErrWrongCode    = errors.New("the code is not one that the MFA device shows now, or was used before")
	ErrTooManyWrong = errors.New("too many wrong codes were given: no code is looked at for a while")
)

const (
	mfaDevicePrefix = "AMFA"
	seedBytes       = 40 // AWS's seeds have 64 characters of base32
	codePeriod      = 30 * time.Second

	toleratedSteps   = 1   // that a code may be early or late
	enabledWithin    = 10  // steps that the clock of a new device may be off
	resyncableWithin = 120 // and that of a device in use
)

// NewMFADevice makes a device of an account that nobody has yet, and its seed in base32.
func (k *Keyring) NewMFADevice(account, path, name string, now time.Time) (*MFADevice, Secret) {
	var b [seedBytes]byte
	rand.Read(b[:])
	seed := NewSecret(base32.StdEncoding.EncodeToString(b[:]))
	d := &MFADevice{
		ID:           NewID(mfaDevicePrefix, account),
		Name:         name,
		SerialNumber: string(arn.New("aws", "iam", "", account, string(MFADeviceKind)+path+name)),
		Created:      now,
	}
	d.Sealed = k.vault.Seal(d.ID, seed)
	return d, seed
}

// MFADeviceBySerial finds a device by its serial number, which is its ARN; nil if there is none.
func MFADeviceBySerial(r store.Reader, serial arn.ARN) *MFADevice {
	if d := MFADevices.Get(r, keyOf(serial)); d != nil && d.SerialNumber == string(serial) {
		return d
	}
	return nil
}

// SpendCode accepts a code of the caller's MFA device and spends it. The error is
// ErrNoDevice, ErrWrongCode or ErrTooManyWrong when it does not; any other is ours.
func (k *Keyring) SpendCode(ctx context.Context, db *store.DB, c *Caller, serial, code string, now time.Time) error {
	owner := ""
	switch c.Type {
	case IAMUser:
		owner = c.User.UserId
	case RootUser:
		owner = c.Account
	}
	var refusal error
	err := db.Update(ctx, func(tx *store.Tx) error {
		d := MFADeviceBySerial(tx, arn.ARN(serial))
		if d == nil || owner == "" || d.Owner != owner {
			refusal = ErrNoDevice
			return nil
		}
		var err error
		if refusal, err = k.spend(d, now, toleratedSteps, code); err != nil || refusal == ErrTooManyWrong {
			return err
		}
		MFADevices.Put(tx, keyOf(arn.ARN(serial)), d)
		return nil
	})
	if err != nil {
		return err
	}
	return refusal
}

// EnableMFADevice spends two codes in a row of a device that nobody has, as proof
// that somebody has it, and learns how far off its clock is. Like SyncMFADevice it
// changes the device, also when it refuses: the caller keeps it in either case.
func (k *Keyring) EnableMFADevice(d *MFADevice, code1, code2 string, now time.Time) (refusal, err error) {
	return k.sync(d, now, enabledWithin, code1, code2)
}

// SyncMFADevice is EnableMFADevice for a device in use whose clock has gone astray.
func (k *Keyring) SyncMFADevice(d *MFADevice, code1, code2 string, now time.Time) (refusal, err error) {
	return k.sync(d, now, resyncableWithin, code1, code2)
}

func (k *Keyring) sync(d *MFADevice, now time.Time, within int64, code1, code2 string) (refusal, err error) {
	if refusal, err = k.spend(d, now, within, code1, code2); refusal != nil || err != nil {
		return refusal, err
	}
	d.Drift = d.Step - stepOf(now)
	if -toleratedSteps <= d.Drift && d.Drift <= toleratedSteps {
		d.Drift = 0 // that is how long it takes to type a code, and no fault of the clock
	}
	return nil, nil
}

// spend looks for the step, among those around now, from which on the device shows
// the codes, one after the other, and spends them. Steps that are spent do not count.
func (k *Keyring) spend(d *MFADevice, now time.Time, within int64, codes ...string) (refusal, err error) {
	if d.Wrong.Stopped(now) {
		return ErrTooManyWrong, nil
	}
	seed, err := k.vault.Open(d.ID, d.Sealed)
	if err != nil {
		return nil, err
	}
	around := stepOf(now)
	if len(codes) == 1 {
		around += d.Drift
	}
	for first := max(around-within, d.Step+1); first <= around+within; first++ {
		shows := true
		for i, code := range codes {
			shows = shows && hotp.Validate(code, uint64(first+int64(i)), seed.Reveal())
		}
		if shows {
			d.Step = first + int64(len(codes)) - 1
			d.Wrong = Attempts{}
			return nil, nil
		}
	}
	d.Wrong.Add(now)
	return ErrWrongCode, nil
}

// stepOf is the time step of RFC 6238.
func stepOf(now time.Time) int64 { return now.Unix() / int64(codePeriod/time.Second) }

// Attempts are wrong guesses in a row at one secret that can be guessed: a code of
// six digits, a password. After a few of them every further one stops all guessing,
// right or wrong, for twice as long as the one before, from a minute up to an hour.
// Who has stolen an access key can keep its user out that way, until the key is taken
// back, but gets no more than 24 guesses a day, at three codes in a million.
type Attempts struct {
	Wrong int       `json:",omitempty"`
	Until time.Time `json:",omitzero"`
}

const (
	freeAttempts = 5
	shortestStop = time.Minute
	longestStop  = time.Hour
)

// Stopped reports whether no guess is looked at now.
func (a *Attempts) Stopped(now time.Time) bool { return now.Before(a.Until) }

// Add counts a wrong guess.
func (a *Attempts) Add(now time.Time) {
	a.Wrong++
	if over := a.Wrong - freeAttempts; over >= 0 {
		a.Until = now.Add(min(shortestStop<<min(over, 10), longestStop))
	}
}
