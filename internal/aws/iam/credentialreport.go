package iam

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/iamd-dev/iamd/internal/aws/iam/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// A credentialReport tells of every user of an account which credentials they have and
// how old those are. It is kept as it was made, for as long as AWS keeps to one.
type credentialReport struct {
	Generated time.Time
	Content   []byte // CSV, by gzip
}

var credentialReports = store.NewTable[credentialReport]("credentialreports") // by account

// A new report is made no more often than this, and an older one is not given out.
const reportAge = 4 * time.Hour

func (r *credentialReport) fresh(c *service.Call) bool {
	return r != nil && c.Time.Sub(r.Generated) < reportAge
}

// generateCredentialReport makes the report before it answers STARTED, which is what
// tools expect of a first call; they ask again until it is COMPLETE.
func (s *Service) generateCredentialReport(ctx context.Context, c *service.Call, _ *api.GenerateCredentialReportInput) (*api.GenerateCredentialReportOutput, error) {
	complete := &api.GenerateCredentialReportOutput{State: "COMPLETE"}
	old := credentialReports.Get(c.State, c.Account)
	if old.fresh(c) {
		return complete, nil
	}
	content, err := writeCredentialReport(c)
	if err != nil {
		return nil, fmt.Errorf("making the credential report: %w", err)
	}
	made := false
	err = s.update(ctx, func(tx *store.Tx) error {
		if made = !credentialReports.Get(tx, c.Account).fresh(c); made {
			credentialReports.Put(tx, c.Account, &credentialReport{Generated: now(c), Content: content})
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case !made:
		return complete, nil
	case old == nil:
		return &api.GenerateCredentialReportOutput{State: "STARTED", Description: "No report exists. Starting a new report generation task"}, nil
	}
	return &api.GenerateCredentialReportOutput{State: "STARTED", Description: "The report is more than four hours old. Starting a new report generation task"}, nil
}

// getCredentialReport has no words for its errors, as AWS has none.
func (s *Service) getCredentialReport(_ context.Context, c *service.Call, _ *api.GetCredentialReportInput) (*api.GetCredentialReportOutput, error) {
	r := credentialReports.Get(c.State, c.Account)
	switch {
	case r == nil:
		return nil, api.ReportNotPresent("")
	case !r.fresh(c):
		return nil, api.ReportExpired("")
	}
	z, err := gzip.NewReader(bytes.NewReader(r.Content))
	if err != nil {
		return nil, fmt.Errorf("reading the credential report: %w", err)
	}
	content, err := io.ReadAll(z)
	if err != nil {
		return nil, fmt.Errorf("reading the credential report: %w", err)
	}
	return &api.GetCredentialReportOutput{Content: content, ReportFormat: "text/csv", GeneratedTime: r.Generated}, nil
}

// What AWS writes where there is no value.
const (
	notApplicable = "N/A"
	noInformation = "no_information" // a password that was never used
	notSupported  = "not_supported"  // of the root user's password
)

var reportColumns = []string{
	"user", "arn", "user_creation_time", "password_enabled", "password_last_used", "password_last_changed", "password_next_rotation", "mfa_active",
	"access_key_1_active", "access_key_1_last_rotated", "access_key_1_last_used_date", "access_key_1_last_used_region", "access_key_1_last_used_service",
	"access_key_2_active", "access_key_2_last_rotated", "access_key_2_last_used_date", "access_key_2_last_used_region", "access_key_2_last_used_service",
	"cert_1_active", "cert_1_last_rotated", "cert_2_active", "cert_2_last_rotated",
}

// writeCredentialReport makes the report of the caller's account: the root user's row
// and then the users'.
func writeCredentialReport(c *service.Call) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := csv.NewWriter(z)
	rows := func(yield func([]string) bool) {
		if a := identity.Accounts.Get(c.State, c.Account); a != nil {
			h := holder{account: a, devices: &a.MFA, holds: &a.Holds}
			row := []string{"<root_account>", string(a.Root()), reportTime(a.Created), notSupported, noInformation, notSupported, notSupported}
			if !yield(append(row, reportCredentials(c.State, h, identity.Key(c.Account, ""))...)) {
				return
			}
		}
		policy := passwordPolicies.Get(c.State, c.Account)
		for key, u := range users.all(c.State, c.Account, "")("") {
			h := holder{user: u, devices: &u.MFA, holds: &u.Holds}
			row := append([]string{u.UserName, u.Arn, reportTime(u.CreateDate)}, reportPassword(loginProfiles.Get(c.State, u.UserId), policy)...)
			if !yield(append(row, reportCredentials(c.State, h, key)...)) {
				return
			}
		}
	}
	if err := w.Write(reportColumns); err != nil {
		return nil, err
	}
	for row := range rows {
		if err := w.Write(row); err != nil {
			return nil, err
		}
	}
	w.Flush()
	if err := w.Error(); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func reportPassword(p *loginProfile, policy *api.PasswordPolicy) []string {
	if p == nil {
		return []string{"false", notApplicable, notApplicable, notApplicable}
	}
	return []string{"true", noInformation, reportTime(p.Changed), reportTime(expiryOf(policy, p.Changed))}
}

// reportCredentials are the columns from mfa_active on. Of keys and certificates the
// older is the first.
func reportCredentials(r store.Reader, h holder, keysAt string) []string {
	row := []string{strconv.FormatBool(len(*h.devices) > 0)}
	keys := slices.SortedStableFunc(keysOf(r, keysAt), func(a, b *identity.AccessKey) int { return a.Created.Compare(b.Created) })
	for i := range 2 {
		if i >= len(keys) {
			row = append(row, "false", notApplicable, notApplicable, notApplicable, notApplicable)
			continue
		}
		used := identity.Use{Region: notApplicable, Service: notApplicable}
		if use := identity.LastUsed.Get(r, keys[i].ID); use != nil {
			used = *use
		}
		row = append(row, strconv.FormatBool(keys[i].Active), reportTime(keys[i].Created),
			reportTime(used.Time), cmp.Or(used.Region, notApplicable), cmp.Or(used.Service, notApplicable))
	}
	var certificates []*signingCertificate
	for _, v := range signingCertificates.of(r, h) {
		certificates = append(certificates, v)
	}
	slices.SortStableFunc(certificates, func(a, b *signingCertificate) int { return a.UploadDate.Compare(b.UploadDate) })
	for i := range 2 {
		if i >= len(certificates) {
			row = append(row, "false", notApplicable)
			continue
		}
		row = append(row, strconv.FormatBool(certificates[i].Status == active), reportTime(certificates[i].UploadDate))
	}
	return row
}

// reportTime is a time as the report has it; a zero one is not applicable.
func reportTime(t time.Time) string {
	if t.IsZero() {
		return notApplicable
	}
	return t.UTC().Format("2006-01-02T15:04:05-07:00")
}
