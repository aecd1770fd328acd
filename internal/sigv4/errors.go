package sigv4

import "errors"

// What a Lookup says of a key it does not accept. Keys that are inactive or
// deleted are unknown, as AWS has it.
var (
	ErrUnknownKey   = errors.New("sigv4: unknown access key")
	ErrInvalidToken = errors.New("sigv4: invalid session token")
	ErrExpiredToken = errors.New("sigv4: expired session token")
)

// An Error is a fault of the request, worded as the service would word it.
type Error struct {
	Code    string
	Message string // may be ""
	Status  int    // of the HTTP response
	Fields  []Field
}

// A Field is a further element of an S3 error: SignatureProvided, Region.
type Field struct{ Name, Value string }

func (e *Error) Error() string {
	if e.Message == "" {
		return e.Code
	}
	return e.Code + ": " + e.Message
}

// A Family is a group of services that word the same fault in the same way.
type Family uint8

const (
	Query    Family = iota // IAM, STS, SNS, CloudFormation: InvalidClientTokenId, SignatureDoesNotMatch
	JSON                   // JSON 1.0 and 1.1, DynamoDB, SSM: UnrecognizedClientException, InvalidSignatureException; status 400
	RESTJSON               // Lambda: the codes of JSON with the statuses of Query
	EC2                    // AuthFailure for nearly everything
	S3                     // its own codes, texts and fields; S3 also has its own rules of what to sign
)

type fault uint8

const (
	missingToken fault = iota
	twoSignatures
	badAlgorithm
	badHeader
	badParameters
	badQuery
	unsignedHeader
	badDate
	skewed
	expiredRequest
	wrongScope
	wrongScopeParameter
	invalidToken
	expiredToken
	unknownKey
	mismatch
	badPayloadHash
	noPayloadHash
)

// faults has the codes of each fault. The codes of JSON are those that DynamoDB,
// SSM and Lambda send; those of S3 its own.
var faults = [...]struct {
	query    string
	status   int
	json     string
	s3       string
	s3status int
}{
	missingToken:        {"MissingAuthenticationToken", 403, "MissingAuthenticationTokenException", "AccessDenied", 403},
	twoSignatures:       {"SignatureDoesNotMatch", 403, "InvalidSignatureException", "InvalidArgument", 400},
	badAlgorithm:        {"IncompleteSignature", 400, "IncompleteSignatureException", "InvalidArgument", 400},
	badHeader:           {"IncompleteSignature", 400, "IncompleteSignatureException", "AuthorizationHeaderMalformed", 400},
	badParameters:       {"IncompleteSignature", 400, "IncompleteSignatureException", "AuthorizationQueryParametersError", 400},
	badQuery:            {"MalformedQueryString", 400, "MalformedQueryString", "InvalidURI", 400},
	unsignedHeader:      {"SignatureDoesNotMatch", 403, "InvalidSignatureException", "AccessDenied", 403},
	badDate:             {"IncompleteSignature", 400, "IncompleteSignatureException", "AccessDenied", 403},
	skewed:              {"SignatureDoesNotMatch", 403, "InvalidSignatureException", "RequestTimeTooSkewed", 403},
	expiredRequest:      {"SignatureDoesNotMatch", 403, "InvalidSignatureException", "AccessDenied", 403},
	wrongScope:          {"SignatureDoesNotMatch", 403, "InvalidSignatureException", "AuthorizationHeaderMalformed", 400},
	wrongScopeParameter: {"SignatureDoesNotMatch", 403, "InvalidSignatureException", "AuthorizationQueryParametersError", 400},
	invalidToken:        {"InvalidClientTokenId", 403, "UnrecognizedClientException", "InvalidToken", 400},
	expiredToken:        {"ExpiredToken", 403, "ExpiredTokenException", "ExpiredToken", 400},
	unknownKey:          {"InvalidClientTokenId", 403, "UnrecognizedClientException", "InvalidAccessKeyId", 403},
	mismatch:            {"SignatureDoesNotMatch", 403, "InvalidSignatureException", "SignatureDoesNotMatch", 403},
	badPayloadHash:      {"SignatureDoesNotMatch", 403, "InvalidSignatureException", "InvalidArgument", 400},
	noPayloadHash:       {"SignatureDoesNotMatch", 403, "InvalidSignatureException", "InvalidRequest", 400},
}

// fault makes the error of a fault in the words of the scope's family: text is
// what all but S3 and EC2 say, s3text and fields what S3 says.
func (s *Scope) fault(k fault, text, s3text string, fields ...Field) *Error {
	f := &faults[k]
	switch s.Family {
	case S3:
		return &Error{f.s3, s3text, f.s3status, fields}
	case EC2:
		if k == skewed || k == expiredToken {
			return &Error{"RequestExpired", "Request has expired.", 400, nil}
		}
		return &Error{"AuthFailure", "AWS was not able to validate the provided access credentials", 401, nil}
	case JSON:
		return &Error{f.json, text, 400, nil}
	case RESTJSON:
		return &Error{f.json, text, f.status, nil}
	}
	return &Error{f.query, text, f.status, nil}
}
