// Package imds gives workloads their credentials over HTTP, where AWS's SDKs and CLI look
// for them by themselves:
//
//   - Metadata is the instance metadata service of one EC2 instance, which answers at
//     http://169.254.169.254 inside it (EC2 User Guide, "Use instance metadata to manage
//     your EC2 instance").
//   - Container is the credentials endpoint of one container
//     (AWS_CONTAINER_CREDENTIALS_FULL_URI).
//
// Both are http.Handlers. Both ask for the credentials when they are asked for them, so
// that a role that is attached, replaced or taken away is so at once, and neither keeps
// any:
//
//	m := imds.New(describe, credentials, time.Now)
//	job.Serve = map[string]http.Handler{imds.Address: m}
//
// # The token
//
// Version 2 has a workload ask for a token first (PUT /latest/api/token), which a request
// that was forged through it can hardly do: it must set a header, and must not come through
// a proxy. A token is of one Metadata alone, and it is a signature over its own end: none
// is stored. Where tokens are optional, requests without one are version 1; a token that
// is not good is refused in any case.
//
// The hop limit bounds how far AWS's answer to the PUT travels. Inside an instance of ours
// there is no hop to count: nothing but the instance reaches the address.
package imds

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/internal/servicerole"
)

// Address is where an instance finds its metadata service.
const Address = "169.254.169.254:80"

// Headers of version 2.
const (
	tokenHeader = "X-Aws-Ec2-Metadata-Token"
	ttlHeader   = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
)

const longestTTL = 21600 // seconds: six hours

// An Instance is what an instance is told of itself.
type Instance struct {
	ID, Type, Image, Reservation string
	LaunchIndex                  int
	Architecture                 string // "x86_64"
	Account, Region, Zone        string
	ZoneID                       string
	PrivateIP, Hostname          string
	Launched                     time.Time
	UserData                     []byte
	Tags                         map[string]string

	// Options.
	Disabled      bool // the service answers nothing
	TokenRequired bool // version 2 alone
	ShowTags      bool

	Profile *Profile // nil: the instance has none
}

// A Profile is the instance profile of an instance.
type Profile struct {
	ARN, ID string
	Role    string // name of its role; "" when there is none in it
	Gone    bool   // the profile has been deleted
}

// Metadata is the metadata service of one instance.
type Metadata struct {
	instance    func() *Instance
	credentials func(context.Context) (*servicerole.Credentials, error)
	key         [32]byte
	now         func() time.Time
}

// New returns the metadata service of an instance. instance tells what the instance is at
// the moment, nil when it is no more. credentials are those of the role in its profile;
// its error says that the role cannot be assumed.
func New(instance func() *Instance, credentials func(context.Context) (*servicerole.Credentials, error), now func() time.Time) *Metadata {
	m := &Metadata{instance: instance, credentials: credentials, now: now}
	rand.Read(m.key[:])
	return m
}

// ServeHTTP answers a request from inside the instance.
func (m *Metadata) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Server", "EC2ws")
	i := m.instance()
	switch {
	case i == nil || i.Disabled:
		fail(w, http.StatusForbidden)
	case r.Method == http.MethodPut:
		m.issue(w, r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "OPTIONS, GET, HEAD, PUT")
		fail(w, http.StatusMethodNotAllowed)
	case !m.admits(r, i.TokenRequired):
		fail(w, http.StatusUnauthorized)
	default:
		m.answer(w, r, i)
	}
}

// issue answers a token.
func (m *Metadata) issue(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/latest/api/token" || len(r.Header.Values("X-Forwarded-For")) > 0 {
		fail(w, http.StatusForbidden)
		return
	}
	ttl, err := strconv.Atoi(r.Header.Get(ttlHeader))
	if err != nil || ttl < 1 || ttl > longestTTL {
		fail(w, http.StatusBadRequest)
		return
	}
	b := binary.BigEndian.AppendUint64(nil, uint64(m.now().Add(time.Duration(ttl)*time.Second).UnixMilli()))
	var nonce [8]byte
	rand.Read(nonce[:])
	b = append(b, nonce[:]...)
	token := base64.URLEncoding.EncodeToString(append(b, m.sign(b)...))
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set(ttlHeader, strconv.Itoa(ttl))
	io.WriteString(w, token)
}

func (m *Metadata) sign(b []byte) []byte {
	mac := hmac.New(sha256.New, m.key[:])
	mac.Write(b)
	return mac.Sum(nil)[:24]
}

// admits reports whether the request has a token that is good, or needs none and has none.
func (m *Metadata) admits(r *http.Request, required bool) bool {
	tokens := r.Header.Values(tokenHeader)
	if len(tokens) == 0 {
		return !required
	}
	b, err := base64.URLEncoding.DecodeString(tokens[0])
	if err != nil || len(b) != 8+8+24 || len(tokens) > 1 || !hmac.Equal(b[16:], m.sign(b[:16])) {
		return false
	}
	return m.now().UnixMilli() < int64(binary.BigEndian.Uint64(b))
}

// versions are the dates by which the tree is found beside "latest".
var versions = []string{"1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01",
	"2009-04-04", "2011-01-01", "2011-05-01", "2012-01-12", "2014-02-25", "2014-11-05", "2015-10-20", "2016-04-19", "2016-06-30",
	"2016-09-02", "2018-03-28", "2018-08-17", "2018-09-24", "2019-10-01", "2020-10-27", "2021-01-03", "2021-03-23", "2021-07-15",
	"2022-09-24", "2024-04-11", "latest"}

// answer finds what is at the path.
func (m *Metadata) answer(w http.ResponseWriter, r *http.Request, i *Instance) {
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if parts[0] == "" && len(parts) == 1 {
		text(w, strings.Join(versions, "\n"))
		return
	}
	if !slices.Contains(versions, parts[0]) {
		fail(w, http.StatusNotFound)
		return
	}
	at := any(m.tree(r.Context(), i))
	for n, part := range parts[1:] {
		last := n == len(parts)-2
		d, ok := at.(dir)
		if part == "" && last { // the path of a directory ends in a slash
			if ok {
				break
			}
			fail(w, http.StatusNotFound)
			return
		}
		if !ok {
			fail(w, http.StatusNotFound)
			return
		}
		if at = d.find(part); at == nil {
			fail(w, http.StatusNotFound)
			return
		}
	}
	switch at := at.(type) {
	case dir:
		list := at.list()
		if strings.Trim(strings.Join(parts[1:], ""), "/") == "" { // the top alone shows no slashes
			list = strings.ReplaceAll(list, "/", "")
		}
		text(w, list)
	case func() (string, bool):
		s, ok := at()
		if !ok {
			fail(w, http.StatusNotFound)
			return
		}
		text(w, s)
	}
}

// A dir is a directory of the tree, in order. What is in it is another, or a func() (string, bool).
type dir []node

type node struct {
	name string
	is   any
}

func (d dir) find(name string) any {
	for _, n := range d {
		if n.name == name {
			return n.is
		}
	}
	return nil
}

// list is what a directory shows: a line for each name, with a slash after that of a directory.
func (d dir) list() string {
	names := make([]string, len(d))
	for i, n := range d {
		names[i] = n.name
		if _, ok := n.is.(dir); ok {
			names[i] += "/"
		}
	}
	return strings.Join(names, "\n")
}

func is(s string) any { return func() (string, bool) { return s, true } }

// tree is what the service has, below the version.
func (m *Metadata) tree(ctx context.Context, i *Instance) dir {
	meta := dir{
		{"ami-id", is(i.Image)},
		{"ami-launch-index", is(strconv.Itoa(i.LaunchIndex))},
		{"ami-manifest-path", is("(unknown)")},
		{"hostname", is(i.Hostname)},
	}
	if p := i.Profile; p != nil {
		iam := dir{{"info", is(m.info(p))}}
		roles := dir{}
		if p.Role != "" {
			roles = dir{{p.Role, func() (string, bool) { return m.role(ctx, p) }}}
		}
		meta = append(meta, node{"iam", append(iam, node{"security-credentials", roles})})
	}
	meta = append(meta, dir{
		{"instance-action", is("none")},
		{"instance-id", is(i.ID)},
		{"instance-life-cycle", is("on-demand")},
		{"instance-type", is(i.Type)},
		{"local-hostname", is(i.Hostname)},
		{"local-ipv4", is(i.PrivateIP)},
		{"placement", dir{{"availability-zone", is(i.Zone)}, {"availability-zone-id", is(i.ZoneID)}, {"region", is(i.Region)}}},
		{"profile", is("default-hvm")},
		{"reservation-id", is(i.Reservation)},
		{"services", dir{{"domain", is("amazonaws.com")}, {"partition", is("aws")}}},
	}...)
	if i.ShowTags && len(i.Tags) > 0 {
		tags := dir{}
		for k, v := range i.Tags {
			tags = append(tags, node{k, is(v)})
		}
		slices.SortFunc(tags, func(a, b node) int { return strings.Compare(a.name, b.name) })
		meta = append(meta, node{"tags", dir{{"instance", tags}}})
	}
	top := dir{{"dynamic", dir{{"instance-identity", dir{{"document", is(i.document())}}}}}, {"meta-data", meta}}
	if len(i.UserData) > 0 {
		top = append(top, node{"user-data", is(string(i.UserData))})
	}
	return top
}

// A member is one of a JSON document, which AWS writes in this order and with these spaces.
type member struct{ name, value string }

func object(members ...member) string {
	var b strings.Builder
	b.WriteString("{\n")
	for i, m := range members {
		name, _ := json.Marshal(m.name)
		value, _ := json.Marshal(m.value)
		b.WriteString("  " + string(name) + " : " + string(value))
		if i < len(members)-1 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	b.WriteByte('}')
	return b.String()
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// info is iam/info: whether the profile is good. Whether its role is, the role's own document says
// (IAM User Guide, "Troubleshoot IAM and Amazon EC2").
func (m *Metadata) info(p *Profile) string {
	updated := member{"LastUpdated", stamp(m.now())}
	switch {
	case p.Gone:
		return object(member{"Code", "InstanceProfileNotFound"}, member{"Message", "Instance Profile " + p.ARN + " cannot be found."}, updated)
	case p.Role == "":
		return object(member{"Code", "Success"}, member{"Message", "Instance Profile does not contain a role..."}, updated,
			member{"InstanceProfileArn", p.ARN}, member{"InstanceProfileId", p.ID})
	}
	return object(member{"Code", "Success"}, updated, member{"InstanceProfileArn", p.ARN}, member{"InstanceProfileId", p.ID})
}

// role is the document of the role's credentials. That the role cannot be assumed it says itself.
func (m *Metadata) role(ctx context.Context, p *Profile) (string, bool) {
	c, err := m.credentials(ctx)
	if err != nil {
		return object(member{"Code", "AssumeRoleUnauthorizedAccess"},
			member{"Message", "EC2 cannot assume the role " + p.Role + ".  Please see documentation at https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_iam-ec2.html#troubleshoot_iam-ec2_errors-info-doc."},
			member{"LastUpdated", stamp(m.now())}), true
	}
	return object(member{"Code", "Success"}, member{"LastUpdated", stamp(c.Issued)}, member{"Type", "AWS-HMAC"},
		member{"AccessKeyId", c.AccessKeyID}, member{"SecretAccessKey", c.SecretAccessKey.Reveal()},
		member{"Token", c.SessionToken.Reveal()}, member{"Expiration", stamp(c.Expires)}), true
}

// document is the instance identity document. AWS signs it beside; nothing of ours could be checked with AWS's certificates.
func (i *Instance) document() string {
	b, err := json.MarshalIndent(struct {
		AccountID               string    `json:"accountId"`
		Architecture            string    `json:"architecture"`
		AvailabilityZone        string    `json:"availabilityZone"`
		BillingProducts         *[]string `json:"billingProducts"`
		DevpayProductCodes      *[]string `json:"devpayProductCodes"`
		MarketplaceProductCodes *[]string `json:"marketplaceProductCodes"`
		ImageID                 string    `json:"imageId"`
		InstanceID              string    `json:"instanceId"`
		InstanceType            string    `json:"instanceType"`
		KernelID                *string   `json:"kernelId"`
		PendingTime             string    `json:"pendingTime"`
		PrivateIP               string    `json:"privateIp"`
		RamdiskID               *string   `json:"ramdiskId"`
		Region                  string    `json:"region"`
		Version                 string    `json:"version"`
	}{AccountID: i.Account, Architecture: i.Architecture, AvailabilityZone: i.Zone, ImageID: i.Image, InstanceID: i.ID, InstanceType: i.Type,
		PendingTime: stamp(i.Launched), PrivateIP: i.PrivateIP, Region: i.Region, Version: "2017-09-30"}, "", "  ")
	if err != nil {
		panic(err) // of texts
	}
	return string(b)
}

func text(w http.ResponseWriter, s string) {
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Content-Length", strconv.Itoa(len(s)))
	io.WriteString(w, s)
}

// fail answers with EC2's page of an error.
func fail(w http.ResponseWriter, status int) {
	title := strconv.Itoa(status) + " - " + http.StatusText(status)
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(status)
	io.WriteString(w, `<?xml version="1.0" encoding="iso-8859-1"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN"
	"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">
 <head>
  <title>`+title+`</title>
 </head>
 <body>
  <h1>`+title+`</h1>
 </body>
</html>
`)
}
