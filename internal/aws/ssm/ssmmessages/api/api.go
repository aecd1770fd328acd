// Package api holds what travels on the wire of the message gateway of Session Manager,
// by which agents open their channels: a struct for each input and output, and Model, the
// table of operations. AWS publishes no model of it; ours is written from the agent's
// source (see internal/apigen/models). Package wire reads the tags, and the comment of
// internal/apigen says what they mean.
package api

//go:generate go run github.com/iamd-dev/iamd/internal/apigen -model ssmmessages-2017-10-01 -o api_gen.go
