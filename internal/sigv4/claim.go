package sigv4

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A claim is what a request says of its signature, before any of it is believed.
type claim struct {
	anonymous bool
	presigned bool

	credential    string // access key id / scope
	accessKeyID   string
	scope         string // date/region/service/aws4_request
	date          string
	region        string
	service       string
	signedHeaders string // in order, joined with semicolons
	signature     string
	token         string
	timeText      string
	time          time.Time
	expires       time.Time
	expiresText   string
}

// Claimed returns the access key, region and service that the request says it is
// signed with, for finding the service that is called. Nothing has been verified.
func Claimed(r *http.Request) (accessKeyID, region, service string, ok bool) {
	var credential string
	if h := r.Header["Authorization"]; len(h) > 0 && h[0] != "" {
		_, rest, _ := strings.Cut(h[0], "Credential=")
		credential, _, _ = strings.Cut(rest, ",")
	} else {
		credential, _ = queryValue(r.URL.RawQuery, "X-Amz-Credential")
	}
	accessKeyID, rest, _ := strings.Cut(strings.TrimSpace(credential), "/")
	_, rest, _ = strings.Cut(rest, "/") // the date
	region, rest, _ = strings.Cut(rest, "/")
	service, last, ok := strings.Cut(rest, "/")
	if !ok || strings.Contains(last, "/") {
		return "", "", "", false
	}
	return accessKeyID, region, service, true
}

// parse reads the signature of a request from its header or its query.
func (c *claim) parse(r *http.Request, scope *Scope) error {
	query := r.URL.RawQuery
	if err := checkEscapes(query, scope); err != nil {
		return err
	}
	header := r.Header["Authorization"]
	word, inQuery := queryValue(query, "X-Amz-Algorithm")
	switch {
	case len(header) > 0 && inQuery:
		return scope.fault(twoSignatures, "",
			"Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified",
			Field{"ArgumentName", "Authorization"}, Field{"ArgumentValue", header[0]})
	case len(header) > 0:
		return c.parseHeader(r, header[0], scope)
	case inQuery:
		return c.parseQuery(query, word, scope)
	}
	if scope.Family == S3 {
		if _, ok := queryValue(query, "Signature"); ok {
			return &Error{"InvalidRequest", versionTwo, 400, nil}
		}
		// A query that is half signed is not an anonymous one.
		for _, name := range []string{"X-Amz-Credential", "X-Amz-Signature"} {
			if _, ok := queryValue(query, name); ok {
				return scope.fault(badParameters, "", missingParameters)
			}
		}
	}
	c.anonymous = true
	return nil
}

const (
	versionTwo        = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
	missingParameters = "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
	headerMalformed   = "The authorization header is malformed; "
)

// parseHeader reads
//
//	AWS4-HMAC-SHA256 Credential=AKIA.../20150830/us-east-1/iam/aws4_request, SignedHeaders=host;x-amz-date, Signature=5d67...
//
// A parameter that comes twice counts as the last of them; unknown ones count for nothing.
func (c *claim) parseHeader(r *http.Request, header string, scope *Scope) error {
	header = strings.TrimSpace(header)
	word, rest, _ := strings.Cut(header, " ")
	if word != algorithm {
		s3text, fields := "Unsupported Authorization Type", []Field{{"ArgumentName", "Authorization"}, {"ArgumentValue", header}}
		if scope.Family == S3 && word == "AWS" {
			return &Error{"InvalidRequest", versionTwo, 400, nil}
		}
		text := "Unsupported AWS 'algorithm': '" + word + "'."
		if word == algorithmA {
			text += " SigV4A is not supported here: sign with " + algorithm + "."
			s3text += ": SigV4A is not supported here: sign with " + algorithm + "."
		}
		return scope.fault(badAlgorithm, text, s3text, fields...)
	}
	var hasCredential, hasSignature, hasHeaders bool
	for rest != "" {
		var piece string
		piece, rest, _ = strings.Cut(rest, ",")
		piece = strings.TrimSpace(piece)
		if piece == "" {
			continue
		}
		name, value, ok := strings.Cut(piece, "=")
		if !ok {
			return scope.fault(badHeader,
				"'"+piece+"' not a valid key=value pair (missing equal-sign) in Authorization header: '"+header+"'.",
				headerMalformed+"the authorization component \""+piece+"\" is malformed.")
		}
		switch name {
		case "Credential":
			c.credential, hasCredential = value, true
		case "SignedHeaders":
			c.signedHeaders, hasHeaders = value, true
		case "Signature":
			c.signature, hasSignature = value, true
		}
	}
	if d := r.Header["X-Amz-Date"]; len(d) > 0 {
		c.timeText = d[0]
	} else if d := r.Header["Date"]; len(d) > 0 {
		c.timeText = d[0]
	}
	if !hasCredential || !hasSignature || !hasHeaders || c.timeText == "" {
		var missing strings.Builder
		for _, m := range []struct {
			has  bool
			text string
		}{
			{hasCredential, "Authorization header requires 'Credential' parameter. "},
			{hasSignature, "Authorization header requires 'Signature' parameter. "},
			{hasHeaders, "Authorization header requires 'SignedHeaders' parameter. "},
			{c.timeText != "", "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "},
		} {
			if !m.has {
				missing.WriteString(m.text)
			}
		}
		k, s3text := badHeader, headerMalformed
		switch {
		case !hasCredential && !hasSignature && !hasHeaders:
			s3text += "the authorization header requires three components: Credential, SignedHeaders, and Signature."
		case !hasCredential:
			s3text += "missing Credential."
		case !hasSignature:
			s3text += "missing Signature."
		case !hasHeaders:
			s3text += "missing SignedHeaders."
		default:
			k, s3text = badDate, noDate
		}
		return scope.fault(k, missing.String()+"Authorization="+algorithm, s3text)
	}
	if t := r.Header["X-Amz-Security-Token"]; len(t) > 0 {
		c.token = t[0]
	}
	c.signedHeaders = sorted(c.signedHeaders)
	return nil
}

const noDate = "AWS authentication requires a valid Date or x-amz-date header"

// parseQuery reads a presigned request. A parameter that comes twice counts as the first of them.
func (c *claim) parseQuery(query, word string, scope *Scope) error {
	if word != algorithm {
		text := "Unsupported AWS 'algorithm': '" + word + "'."
		if word == algorithmA {
			text += " SigV4A is not supported here: sign with " + algorithm + "."
		}
		return scope.fault(badParameters, text, "X-Amz-Algorithm only supports \""+algorithm+"\"")
	}
	c.presigned = true
	var missing strings.Builder
	for _, p := range []struct {
		name  string
		value *string
	}{
		{"X-Amz-Credential", &c.credential},
		{"X-Amz-Signature", &c.signature},
		{"X-Amz-SignedHeaders", &c.signedHeaders},
		{"X-Amz-Date", &c.timeText},
	} {
		var ok bool
		if *p.value, ok = queryValue(query, p.name); !ok {
			missing.WriteString("AWS query-string parameters must include '" + p.name + "'. ")
		}
	}
	var hasExpires bool
	c.expiresText, hasExpires = queryValue(query, "X-Amz-Expires")
	if missing.Len() > 0 || scope.Family == S3 && !hasExpires {
		return scope.fault(badParameters, missing.String()+"Re-examine the query-string parameters.", missingParameters)
	}
	c.token, _ = queryValue(query, "X-Amz-Security-Token")
	c.signedHeaders = sorted(c.signedHeaders)
	return nil
}

// sorted puts a list of headers in order, if it is not.
func sorted(list string) string {
	last := ""
	for rest := list; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, ";")
		if name < last {
			names := strings.Split(list, ";")
			slices.Sort(names)
			return strings.Join(names, ";")
		}
		last = name
	}
	return list
}

// checkSignedHeaders finds headers that the service wants signed and that are not.
func (c *claim) checkSignedHeaders(r *http.Request, scope *Scope) error {
	if !contains(c.signedHeaders, "host") && !contains(c.signedHeaders, ":authority") {
		return scope.fault(unsignedHeader, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
			headersNotSigned, Field{"HeadersNotSigned", "host"})
	}
	switch scope.Family {
	case S3:
		var unsigned []string
		for name := range r.Header {
			// Every x-amz- header can change what is done: an ACL, a copy's source.
			if len(name) > 6 && strings.EqualFold(name[:6], "X-Amz-") {
				if name := strings.ToLower(name); !contains(c.signedHeaders, name) {
					unsigned = append(unsigned, name)
				}
			}
		}
		if len(unsigned) > 0 {
			slices.Sort(unsigned)
			return scope.fault(unsignedHeader, "", headersNotSigned, Field{"HeadersNotSigned", strings.Join(unsigned, ", ")})
		}
	case JSON:
		// It names the operation.
		if len(r.Header["X-Amz-Target"]) > 0 && !contains(c.signedHeaders, "x-amz-target") {
			return scope.fault(unsignedHeader, "'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization.", "")
		}
	}
	return nil
}

const headersNotSigned = "There were headers present in the request which were not signed"

// checkTime reads the time of the request and finds it to be near now, or for a
// presigned S3 request within the life that it was given.
//
// For other services X-Amz-Expires has no effect: as with AWS, a presigned
// GetCallerIdentity is good for fifteen minutes whatever it says. The tokens of EKS
// rely on that: they are signed with 60 seconds and used for 14 minutes.
func (c *claim) checkTime(scope *Scope, now time.Time) error {
	t, err := parseBasic(c.timeText)
	if (err != nil || len(c.timeText) != len(basicISO)) && !c.presigned {
		t, err = time.Parse(time.RFC3339, c.timeText)
		if err != nil {
			t, err = http.ParseTime(c.timeText) // of a Date header
		}
	} else if len(c.timeText) != len(basicISO) {
		err = strconv.ErrSyntax // time.Parse lets fractions of a second pass
	}
	if err != nil {
		k, s3text := badDate, noDate
		if c.presigned {
			k, s3text = badParameters, `X-Amz-Date must be in the ISO8601 Long Format "yyyyMMdd'T'HHmmss'Z'"`
		}
		return scope.fault(k, "Date must be in ISO-8601 'basic format'. Got '"+c.timeText+"'. See http://en.wikipedia.org/wiki/ISO_8601", s3text)
	}
	c.time = t.UTC().Truncate(time.Second)

	if scope.Family == S3 && c.presigned {
		seconds, err := strconv.ParseInt(c.expiresText, 10, 64)
		switch {
		case err != nil:
			return scope.fault(badParameters, "", "X-Amz-Expires should be a number")
		case seconds < 0:
			return scope.fault(badParameters, "", "X-Amz-Expires must be non-negative")
		case seconds > int64(MaxExpires/time.Second):
			return scope.fault(badParameters, "", "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds")
		}
		c.expires = c.time.Add(time.Duration(seconds) * time.Second)
		if c.time.After(now.Add(MaxSkew)) {
			return scope.fault(expiredRequest, "", "Request is not valid yet", Field{"X-Amz-Date", c.timeText}, Field{"ServerTime", now.Format(time.RFC3339)})
		}
		if !now.Before(c.expires) {
			return scope.fault(expiredRequest, "", "Request has expired", Field{"X-Amz-Expires", c.expiresText},
				Field{"Expires", c.expires.Format(time.RFC3339)}, Field{"ServerTime", now.Format(time.RFC3339)})
		}
		return nil
	}

	early, late := now.Add(-MaxSkew), now.Add(MaxSkew)
	if !c.time.Before(early.Truncate(time.Second)) && !c.time.After(late) {
		return nil
	}
	text := fmt.Sprintf("Signature expired: %s is now earlier than %s (%s - 15 min.)", c.time.Format(basicISO), early.Format(basicISO), now.Format(basicISO))
	if c.time.After(late) {
		text = fmt.Sprintf("Signature not yet current: %s is still later than %s (%s + 15 min.)", c.time.Format(basicISO), late.Format(basicISO), now.Format(basicISO))
	}
	return scope.fault(skewed, text, "The difference between the request time and the current time is too large.",
		Field{"RequestTime", c.timeText}, Field{"ServerTime", now.Format(time.RFC3339)}, Field{"MaxAllowedSkewMilliseconds", "900000"})
}

// parseBasic is time.Parse(basicISO, s), quicker for what nearly all requests have.
func parseBasic(s string) (time.Time, error) {
	if len(s) == len(basicISO) && s[8] == 'T' && s[15] == 'Z' {
		digits := true
		number := func(from, to int) int {
			n := 0
			for _, c := range []byte(s[from:to]) {
				digits = digits && '0' <= c && c <= '9'
				n = 10*n + int(c-'0')
			}
			return n
		}
		year, month, day, hour, minute, second := number(0, 4), number(4, 6), number(6, 8), number(9, 11), number(11, 13), number(13, 15)
		if digits && month >= 1 && month <= 12 && day >= 1 && hour < 24 && minute < 60 && second < 60 {
			if t := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC); t.Day() == day { // the month has that day
				return t, nil
			}
		}
	}
	return time.Parse(basicISO, s) // which tells what is wrong
}

// checkCredential takes the credential apart and compares its scope with the
// service's. All faults of the scope make one message, except for S3, which
// tells the first.
func (c *claim) checkCredential(scope *Scope) error {
	ok := strings.Count(c.credential, "/") == 4
	var term string
	if ok {
		var rest string
		c.accessKeyID, c.scope, _ = strings.Cut(c.credential, "/")
		c.date, rest, _ = strings.Cut(c.scope, "/")
		c.region, rest, _ = strings.Cut(rest, "/")
		c.service, term, _ = strings.Cut(rest, "/")
	}
	s3kind, s3prefix := wrongScope, headerMalformed
	if c.presigned {
		s3kind, s3prefix = wrongScopeParameter, "Error parsing the X-Amz-Credential parameter; "
	}
	if !ok || c.accessKeyID == "" {
		if scope.Family == S3 {
			return scope.fault(s3kind, "", s3prefix+`the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".`)
		}
		return scope.fault(badHeader, "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '"+c.credential+"'", "")
	}

	var space [len(basicISO)]byte
	date := appendBasic(space[:0], c.time)[:len(basicDate)]
	rightDate := c.date == string(date)
	rightRegion := validRegion(c.region) && (len(scope.Regions) == 0 || slices.Contains(scope.Regions, c.region))
	if rightRegion && c.service == scope.Service && term == terminator && rightDate {
		return nil
	}
	if scope.Family == S3 {
		var fields []Field
		var text string
		switch {
		case len(c.date) != len(basicDate):
			text = s3prefix + fmt.Sprintf(`incorrect date format "%s". This date in the credential must be in the format "yyyyMMdd".`, c.date)
		case !rightDate:
			text = fmt.Sprintf(`Invalid credential date "%s". This date is not the same as X-Amz-Date: "%s".`, c.date, string(date))
			if !c.presigned {
				text = headerMalformed + text
			}
		case !rightRegion:
			right := "us-east-1"
			if len(scope.Regions) > 0 {
				right = scope.Regions[0]
			}
			text = s3prefix + fmt.Sprintf("the region '%s' is wrong; expecting '%s'", c.region, right)
			fields = []Field{{"Region", right}}
		case c.service != scope.Service:
			text = s3prefix + fmt.Sprintf(`incorrect service "%s". This endpoint belongs to "%s".`, c.service, scope.Service)
		default:
			text = s3prefix + fmt.Sprintf(`incorrect terminal "%s". This endpoint uses "aws4_request".`, term)
		}
		return scope.fault(s3kind, "", text, fields...)
	}
	var text string
	if !rightRegion {
		text += "Credential should be scoped to a valid region. " // AWS no longer repeats the region
	}
	if c.service != scope.Service {
		text += "Credential should be scoped to correct service: '" + scope.Service + "'. "
	}
	if term != terminator {
		text += "Credential should be scoped with a valid terminator: 'aws4_request', not '" + term + "'. "
	}
	if !rightDate {
		text += "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '" + c.date + "' != '" + string(date) + "', from '" + c.time.Format(basicISO) + "'. "
	}
	return scope.fault(s3kind, text, "")
}

// validRegion reports whether s has the form of a region's name. Where any region
// is accepted its name still goes into ARNs and records.
func validRegion(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return s != "" && len(s) <= 32
}
