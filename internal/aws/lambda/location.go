package lambda

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
)

// codePath begins the paths of code, as server.CodePath: what is behind it is a place, sealed.
const codePath = "/_code/"

// locationLife is how long the URL of code is good: API Reference, GetFunction.
const locationLife = 10 * time.Minute

// A place is what the URL of a package's zip stands for. The URL is the permission: who was
// allowed lambda:GetFunction has it, and nobody can make one without the server's key.
type place struct {
	Account, Hash string
	Until         time.Time
}

const sealedPlace = "lambda code" // what places are sealed as

// location is the URL at which the zip of a version can be loaded for some minutes; "" for
// calls from inside, which have no endpoint.
func (s *Service) location(c *service.Call, n name, code Code) (string, error) {
	if c.Source.Host == "" {
		return "", nil
	}
	text, err := json.Marshal(place{n.account, code.Hash, s.now().Add(locationLife)})
	if err != nil {
		return "", err
	}
	sealed, err := base64.StdEncoding.DecodeString(s.Keyring.Keep(sealedPlace, identity.NewSecret(string(text))))
	if err != nil {
		return "", err
	}
	return c.Source.Endpoint() + codePath + base64.RawURLEncoding.EncodeToString(sealed) + "/" + n.function + ".zip", nil
}

// ServeHTTP answers who loads code from a location, as S3 answers who has a presigned URL.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p, ok := s.placeOf(r.URL.Path)
	switch {
	case !ok:
		refuseLoad(w, http.StatusForbidden, "AccessDenied", "Access Denied")
		return
	case !s.now().Before(p.Until):
		refuseLoad(w, http.StatusForbidden, "AccessDenied", "Request has expired")
		return
	}
	s.kept.RLock() // so that it is not removed meanwhile
	f, err := os.Open(s.zipOf(p.Account, p.Hash))
	s.kept.RUnlock()
	if err != nil {
		refuseLoad(w, http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/zip")
	w.Header().Set("Cache-Control", "no-store")
	http.ServeContent(w, r, "", time.Time{}, f)
}

// Has reports whether a path is one of those that location has given, even if its time is over.
func (s *Service) Has(path string) bool {
	_, ok := s.placeOf(path)
	return ok
}

// placeOf opens the place in a path.
func (s *Service) placeOf(path string) (p place, ok bool) {
	text, name, ok := strings.Cut(strings.TrimPrefix(path, codePath), "/")
	if !ok || name == "" || strings.Contains(name, "/") {
		return p, false
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return p, false
	}
	secret, err := s.Keyring.Kept(sealedPlace, base64.StdEncoding.EncodeToString(sealed))
	if err != nil {
		return p, false
	}
	return p, json.Unmarshal([]byte(secret.Reveal()), &p) == nil
}

func refuseLoad(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	w.Write([]byte(`<?xml version="1.0" encoding="UTF-8"?>` + "\n<Error><Code>" + code + "</Code><Message>" + message + "</Message></Error>"))
}
