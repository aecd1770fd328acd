package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/iamd-dev/iamd/internal/aws/dynamodb"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/proxy"
	"github.com/iamd-dev/iamd/internal/wire"
)

// The settings of the servers behind iamd.
type upstreamSettings struct {
	s3, s3Region, s3Owner string
	dynamodb              []string
	credentials           string
}

// upstreams are the servers behind iamd.
type upstreams struct {
	s3       *proxy.Upstream            // nil: objects are here
	dynamodb map[string]*proxy.Upstream // by account; of others the tables are here
}

// check reads what the settings name.
func (u *upstreamSettings) check() (upstreams, error) {
	all := upstreams{dynamodb: map[string]*proxy.Upstream{}}
	if u.s3 == "" && len(u.dynamodb) == 0 {
		if u.credentials+u.s3Owner != "" {
			return all, fmt.Errorf("there are settings of upstreams, and neither --upstreams-s3 nor --upstreams-dynamodb")
		}
		return all, nil
	}
	if u.credentials == "" {
		return all, fmt.Errorf("upstreams need --upstreams-credentials: iamd signs what it asks them")
	}
	c, err := readCredentials(u.credentials)
	if err != nil {
		return all, err
	}
	if !c.found {
		return all, fmt.Errorf("--upstreams-credentials: there is no %s", u.credentials)
	}
	upstream := func(flag, text, service, region, profileName string) (*proxy.Upstream, error) {
		at, err := url.Parse(text)
		if err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Host == "" || at.RawQuery != "" || at.Fragment != "" || at.User != nil {
			return nil, fmt.Errorf("%s %q is not a URL such as https://store.example.com", flag, text)
		}
		p := c.profile(profileName)
		if p == nil || p.settings[keyIDSetting] == "" || p.settings[secretSetting] == "" {
			return nil, fmt.Errorf("%s has no profile [%s] with %s and %s", u.credentials, profileName, keyIDSetting, secretSetting)
		}
		return &proxy.Upstream{URL: at, Service: service, Region: region, AccessKeyID: p.settings[keyIDSetting], Secret: identity.NewSecret(p.settings[secretSetting])}, nil
	}
	if u.s3Owner != "" && !identity.ValidAccount(u.s3Owner) {
		return all, fmt.Errorf("--upstreams-s3-owner %q is not an account id: those are 12 digits", u.s3Owner)
	}
	if u.s3 != "" {
		if all.s3, err = upstream("--upstreams-s3", u.s3, "s3", u.s3Region, "s3"); err != nil {
			return all, err
		}
	}
	for _, text := range u.dynamodb {
		account, at, ok := strings.Cut(text, "=")
		if !ok || !identity.ValidAccount(account) {
			return all, fmt.Errorf("--upstreams-dynamodb %q is not like 123456789012=https://tables.example.com", text)
		}
		if all.dynamodb[account] != nil {
			return all, fmt.Errorf("--upstreams-dynamodb has account %s twice", account)
		}
		if all.dynamodb[account], err = upstream("--upstreams-dynamodb", at, "dynamodb", defaultRegion, "dynamodb-"+account); err != nil {
			return all, err
		}
	}
	return all, nil
}

// engine is who keeps the tables of an account: its upstream, whatever the region, or else
// an engine of ours, where there are any.
func (u *upstreams) engine(engines *dynamodb.Engines) func(context.Context, string, string) (dynamodb.Engine, error) {
	return func(ctx context.Context, account, region string) (dynamodb.Engine, error) {
		if up := u.dynamodb[account]; up != nil {
			return dynamodb.Remote{Do: up.Do}, nil
		}
		if engines == nil {
			return nil, &wire.Error{Code: "NotImplemented", Status: 501, Message: "iamd has no DynamoDB for this account here: name one with --upstreams-dynamodb."}
		}
		return engines.Engine(ctx, account, region)
	}
}
