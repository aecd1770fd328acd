package iam

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/png"
	"net/url"
	"slices"
	"time"

	"github.com/pquerna/otp"

	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// qrSize is the width and height of a QR code, in pixels.
const qrSize = 300

// createVirtualMFADevice shows the seed, for this once, as text and as the QR code
// that authenticator apps read.
func (s *Service) createVirtualMFADevice(ctx context.Context, c *service.Call, in *api.CreateVirtualMFADeviceInput) (*api.CreateVirtualMFADeviceOutput, error) {
	if err := distinct(in.Tags, false); err != nil {
		return nil, err
	}
	d, seed := s.Keyring.NewMFADevice(c.Account, orRoot(in.Path), in.VirtualMFADeviceName, now(c))
	d.Tags = in.Tags
	qr, err := qrCode(c, d, seed)
	if err != nil {
		return nil, err
	}
	if err := create(ctx, s, c, mfaDevices, d, nil); err != nil {
		return nil, err
	}
	return &api.CreateVirtualMFADeviceOutput{VirtualMFADevice: &api.VirtualMFADevice{
		SerialNumber: d.SerialNumber, Base32StringSeed: []byte(seed.Reveal()), QRCodePNG: qr, Tags: in.Tags,
	}}, nil
}

// qrCode is the otpauth URI of a device as AWS describes it, a device of an account
// that goes by its alias, as a picture.
func qrCode(c *service.Call, d *identity.MFADevice, seed identity.Secret) ([]byte, error) {
	account := c.Account
	if a := identity.Accounts.Get(c.State, c.Account); a != nil && a.Alias != "" {
		account = a.Alias
	}
	key, err := otp.NewKeyFromURL("otpauth://totp/" + url.PathEscape(d.Name+"@"+account) + "?secret=" + seed.Reveal())
	if err != nil {
		return nil, errors.New("making an otpauth URI: it cannot be parsed") // its error would show the seed
	}
	picture, err := key.Image(qrSize, qrSize)
	if err != nil {
		return nil, fmt.Errorf("making a QR code: %w", err)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, picture); err != nil {
		return nil, fmt.Errorf("making a QR code: %w", err)
	}
	return b.Bytes(), nil
}

// deviceHolder is holderOf, where a root may call itself root, which AWS leaves to its
// console, unless there is a user of that name.
func deviceHolder(r store.Reader, c *service.Call, name string) (holder, error) {
	if c.Caller.Type == identity.RootUser && name == rootName && users.find(r, c.Account, name) == nil {
		name = ""
	}
	return holderOf(r, c, name)
}

// device finds an MFA device that the holder has.
func (h holder) device(r store.Reader, c *service.Call, serial string) (*identity.MFADevice, error) {
	d, err := mfaDevices.get(r, c, serial)
	if err != nil {
		return nil, err
	}
	if d.Owner != h.id() {
		return nil, api.NoSuchEntity("MFA Device invalid for user.")
	}
	return d, nil
}

func (s *Service) enableMFADevice(ctx context.Context, c *service.Call, in *api.EnableMFADeviceInput) (*none, error) {
	return nil, s.withCodes(ctx, func(tx *store.Tx) (refusal, err error) {
		h, err := deviceHolder(tx, c, in.UserName)
		if err != nil {
			return nil, err
		}
		d, err := mfaDevices.get(tx, c, in.SerialNumber)
		if err != nil {
			return nil, err
		}
		if d.Owner != "" {
			return nil, api.EntityAlreadyExists("MFA Device is already in use.")
		}
		if err := within(len(*h.devices)+1, s.Quotas.MFADevicesPerUser, "MFADevicesPerUser"); err != nil {
			return nil, err
		}
		refusal, err = s.Keyring.EnableMFADevice(d, in.AuthenticationCode1, in.AuthenticationCode2, c.Time)
		if err != nil {
			return nil, err
		}
		key := mfaDevices.key(c.Account, d)
		if refusal == nil {
			d.Owner, d.Enabled = h.id(), now(c)
			*h.devices = append(*h.devices, key)
			h.keep(tx, c)
			inUse(tx, c.Account, +1)
		}
		identity.MFADevices.Put(tx, key, d)
		return refusal, nil
	})
}

func (s *Service) resyncMFADevice(ctx context.Context, c *service.Call, in *api.ResyncMFADeviceInput) (*none, error) {
	return nil, s.withCodes(ctx, func(tx *store.Tx) (refusal, err error) {
		h, err := deviceHolder(tx, c, in.UserName)
		if err != nil {
			return nil, err
		}
		d, err := h.device(tx, c, in.SerialNumber)
		if err != nil {
			return nil, err
		}
		refusal, err = s.Keyring.SyncMFADevice(d, in.AuthenticationCode1, in.AuthenticationCode2, c.Time)
		identity.MFADevices.Put(tx, mfaDevices.key(c.Account, d), d)
		return refusal, err
	})
}

// withCodes is an update that looks at codes. That they were wrong is kept and then
// answered.
func (s *Service) withCodes(ctx context.Context, f func(*store.Tx) (refusal, err error)) error {
	var refusal error
	err := s.update(ctx, func(tx *store.Tx) (err error) {
		refusal, err = f(tx)
		return err
	})
	switch {
	case err != nil:
		return err
	case errors.Is(refusal, identity.ErrTooManyWrong):
		return api.InvalidAuthenticationCode("Authentication code for device is not looked at: there were too many that are not valid. Try again later.")
	case refusal != nil:
		return api.InvalidAuthenticationCode("Authentication code for device is not valid.")
	}
	return nil
}

// deactivateMFADevice leaves the device, which nobody has any more, with the codes
// that it has spent.
func (s *Service) deactivateMFADevice(ctx context.Context, c *service.Call, in *api.DeactivateMFADeviceInput) (*none, error) {
	return nil, s.update(ctx, func(tx *store.Tx) error {
		h, err := deviceHolder(tx, c, in.UserName)
		if err != nil {
			return err
		}
		d, err := h.device(tx, c, in.SerialNumber)
		if err != nil {
			return err
		}
		key := mfaDevices.key(c.Account, d)
		*h.devices = slices.DeleteFunc(*h.devices, func(k string) bool { return k == key })
		h.keep(tx, c)
		d.Owner, d.Enabled = "", time.Time{}
		identity.MFADevices.Put(tx, key, d)
		inUse(tx, c.Account, -1)
		return nil
	})
}

// inUse counts the account's MFA devices that somebody has.
func inUse(tx *store.Tx, account string, by int) {
	n := identity.Counters.Get(tx, account)
	if n == nil {
		n = &identity.Counts{}
	}
	n.MFADevicesInUse += by
	identity.Counters.Put(tx, account, n)
}

func (s *Service) deleteVirtualMFADevice(ctx context.Context, c *service.Call, in *api.DeleteVirtualMFADeviceInput) (*none, error) {
	return nil, remove(ctx, s, c, mfaDevices, in.SerialNumber, func(_ *store.Tx, d *identity.MFADevice) error {
		if d.Owner != "" {
			return api.DeleteConflict("MFA VirtualDevice in use. Must deactivate first.")
		}
		return nil
	})
}

func (s *Service) getMFADevice(_ context.Context, c *service.Call, in *api.GetMFADeviceInput) (*api.GetMFADeviceOutput, error) {
	h, err := deviceHolder(c.State, c, in.UserName)
	if err != nil {
		return nil, err
	}
	d, err := h.device(c.State, c, in.SerialNumber)
	if err != nil {
		return nil, err
	}
	return &api.GetMFADeviceOutput{UserName: h.name(), SerialNumber: d.SerialNumber, EnableDate: d.Enabled}, nil
}

func (s *Service) listMFADevices(_ context.Context, c *service.Call, in *api.ListMFADevicesInput) (*api.ListMFADevicesOutput, error) {
	h, err := deviceHolder(c.State, c, in.UserName)
	if err != nil {
		return nil, err
	}
	p, err := paged(in.Marker, in.MaxItems, mapped(slice(*h.devices), func(key string) (api.MFADevice, bool) {
		d := identity.MFADevices.Get(c.State, key)
		if d == nil {
			return api.MFADevice{}, false
		}
		return api.MFADevice{UserName: h.name(), SerialNumber: d.SerialNumber, EnableDate: d.Enabled}, true
	}))
	if err != nil {
		return nil, err
	}
	return &api.ListMFADevicesOutput{MFADevices: p.Items, IsTruncated: p.More, Marker: p.Marker}, nil
}

// listVirtualMFADevices shows who has a device. Of a device that nobody has there is
// no more than the serial number.
func (s *Service) listVirtualMFADevices(_ context.Context, c *service.Call, in *api.ListVirtualMFADevicesInput) (*api.ListVirtualMFADevicesOutput, error) {
	p, err := paged(in.Marker, in.MaxItems, mapped(mfaDevices.all(c.State, c.Account, ""), func(d *identity.MFADevice) (api.VirtualMFADevice, bool) {
		v := api.VirtualMFADevice{SerialNumber: d.SerialNumber}
		if d.Owner == "" {
			return v, in.AssignmentStatus != "Assigned"
		}
		v.EnableDate = d.Enabled
		if d.Owner == c.Account {
			v.User = rootUser(c)
		} else if u := identity.UserByID(c.State, d.Owner); u != nil {
			shown, _ := listedUser(u)
			v.User = &shown
		}
		return v, in.AssignmentStatus != "Unassigned"
	}))
	if err != nil {
		return nil, err
	}
	return &api.ListVirtualMFADevicesOutput{VirtualMFADevices: p.Items, IsTruncated: p.More, Marker: p.Marker}, nil
}

// everyMFADevice has no resource-level permissions; refusals print the ARN's stem.
var everyMFADevice = service.On(func(c *service.Call, _ *api.ListVirtualMFADevicesInput) []service.Target {
	return []service.Target{{ARN: "*", Text: entityARN(c.Account, identity.MFADeviceKind, "/", "")}}
})
