// Package api holds what travels on the wire of DynamoDB Streams: a struct for each input and
// output and the shapes that they are made of, a constructor for each error, and Model, the
// table of operations. It is generated from AWS's model of the service; package wire
// reads the tags, and the comment of internal/apigen says what they mean.
package api

//go:generate go run github.com/iamd-dev/iamd/internal/apigen -model dynamodbstreams-2012-08-10 -o api_gen.go
