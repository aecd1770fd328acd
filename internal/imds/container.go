package imds

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net/http"

	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/servicerole"
)

// Container is the credentials endpoint of one container: it answers a GET of Path that
// has the token in its Authorization header, if it has a token.
type Container struct {
	Path        string          // "/v2/credentials/..."
	Token       identity.Secret // AWS_CONTAINER_AUTHORIZATION_TOKEN
	Open        bool            // no token is asked for: whoever reaches the endpoint is the container
	Credentials func(context.Context) (*servicerole.Credentials, error)
}

// ServeHTTP answers a request from inside the container.
func (c *Container) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Of sums, so that not even the token's length shows in the time that it takes.
	given, want := sha256.Sum256([]byte(r.Header.Get("Authorization"))), sha256.Sum256([]byte(c.Token.Reveal()))
	switch {
	case !c.Open && (c.Token.Reveal() == "" || subtle.ConstantTimeCompare(given[:], want[:]) != 1 || len(r.Header.Values("Authorization")) != 1):
		refuse(w, http.StatusForbidden, "AccessDeniedException", "The authorization token is missing or wrong")
		return
	case r.Method != http.MethodGet:
		refuse(w, http.StatusMethodNotAllowed, "InvalidMethod", "There is only GET")
		return
	case r.URL.Path != c.Path:
		refuse(w, http.StatusNotFound, "InvalidIdInRequest", "CredentialsV2Request: Credentials not found")
		return
	}
	credentials, err := c.Credentials(r.Context())
	if err != nil {
		refuse(w, http.StatusBadRequest, "AccessDenied", "The role cannot be assumed: "+err.Error())
		return
	}
	answer(w, http.StatusOK, struct{ RoleArn, AccessKeyId, SecretAccessKey, Token, Expiration, AccountId string }{
		string(credentials.Role), credentials.AccessKeyID, credentials.SecretAccessKey.Reveal(), credentials.SessionToken.Reveal(),
		stamp(credentials.Expires), credentials.Role.Account()})
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	answer(w, status, struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}{code, message})
}

func answer(w http.ResponseWriter, status int, document any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(document)
}
