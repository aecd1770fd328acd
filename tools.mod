// The tools that check this repository, and the only place where their versions stand:
//
//	go tool -modfile=tools.mod staticcheck ./...
//
// They have a module file of their own so that what they need does not decide the
// versions of what iamd is made of. golang.org/x/vuln stays at v1.8.0 because v1.9.0
// asks for a golang.org/x/telemetry that the module proxy does not hand out.
module github.com/iamd-dev/iamd/tools

go 1.26.0

tool (
	golang.org/x/vuln/cmd/govulncheck
	honnef.co/go/tools/cmd/staticcheck
)

require (
	github.com/BurntSushi/toml v1.4.1-0.20240526193622-a339e1f7089c // indirect
	golang.org/x/exp/typeparams v0.0.0-20231108232855-2478ac86f678 // indirect
	golang.org/x/mod v0.41.0 // indirect
	golang.org/x/sync v0.23.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
	golang.org/x/telemetry v0.0.0-20260924152758-ed294f943157 // indirect
	golang.org/x/tools v0.51.0 // indirect
	golang.org/x/vuln v1.8.0 // indirect
	honnef.co/go/tools v0.8.2 // indirect
)
