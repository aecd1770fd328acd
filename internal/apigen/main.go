// Apigen writes the api package of a service from AWS's model of it.
//
//	apigen -model iam-2010-05-08 -o api_gen.go      the package, from a model kept in models/
//	apigen -import service-2.json.gz                keeps a model: without documentation, compressed
//	apigen -import service-2.json.gz -ops A,B       keeps these operations of it, and what they lead to
//
// Input are the models that botocore ships (see models/README.md). They are kept here,
// trimmed, so that go generate works on a machine that has no botocore. Output is one file:
// a struct for each input, output and shape reached from them, a constructor for each
// error, and the table of operations. Never logic.
//
// The structs are plain, and tags carry what the codecs of package wire need:
//
//	wire:"NAME[,option]..."   the name on the wire ("" is the field's), where it travels
//	                          (header, headers, query, uri, payload, status; none is the body)
//	                          and how (flat, form=X, member=X, key=X, value=X, attr, text, time=X,
//	                          req, always, sensitive, record=X, missing, encoded)
//	min, max, pattern, enum   what AWS demands of the value (length for strings and lists);
//	                          re is pattern as Go understands it, where that differs
//	say                       the sentence that stands for the pattern in IAM's errors
//	emin, emax, epattern, ... the same for the elements of a list of strings
//
// How members become fields: required members of inputs are plain values; optional
// numbers, booleans and structures of inputs are pointers, because absent and zero
// differ; optional strings are plain, "" is absent. Outputs, and shapes that travel in
// both directions, are plain values with pointers to structures only: zero is left out
// on the wire unless the member is required or stands in the table Always.
// Where the model is wrong for us, exceptions.go says so, with the reason.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"strings"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("apigen: ")
	var (
		model  = flag.String("model", "", "the model's name in models/, as in iam-2010-05-08")
		ops    = flag.String("ops", "all", "operations that get types, with commas, the others being only named; with -import, those that are kept")
		out    = flag.String("o", "api_gen.go", "the file to write")
		source = flag.String("import", "", "a botocore service-2.json or service-2.json.gz to keep in -dir")
		dir    = flag.String("dir", "models", "where -import keeps the model")
	)
	flag.Parse()
	switch {
	case *source != "":
		name, err := importModel(*source, *dir, strings.Split(*ops, ","))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(name)
	case *model != "":
		text, err := generate(*model, strings.Split(*ops, ","))
		if err != nil {
			log.Fatal(err)
		}
		if err := os.WriteFile(*out, text, 0o644); err != nil {
			log.Fatal(err)
		}
	default:
		flag.Usage()
		os.Exit(2)
	}
}
