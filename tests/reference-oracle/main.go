// Command reference-oracle says what Go's distribution/reference makes of image references.
//
// It reads one JSON string a line and answers with one JSON object a line, in the same order.
package main

import (
	"bufio"
	"encoding/json"
	"log"
	"os"

	// The digest library accepts an algorithm only when its hash is linked in, as it is in every container runtime.
	_ "crypto/sha256"
	_ "crypto/sha512"

	"github.com/distribution/reference"
)

type answer struct {
	Accepted bool   `json:"accepted"`
	Host     string `json:"host"`
	Path     string `json:"path"`
	Tag      string `json:"tag"`
	Digest   string `json:"digest"`
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	answers := json.NewEncoder(out)
	for lines.Scan() {
		var text string
		if err := json.Unmarshal(lines.Bytes(), &text); err != nil {
			log.Fatalf("%q is not a JSON string: %v", lines.Bytes(), err)
		}
		if err := answers.Encode(judge(text)); err != nil {
			log.Fatal(err)
		}
	}
	if err := lines.Err(); err != nil {
		log.Fatal(err)
	}
	if err := out.Flush(); err != nil {
		log.Fatal(err)
	}
}

func judge(text string) answer {
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return answer{}
	}
	verdict := answer{Accepted: true, Host: reference.Domain(named), Path: reference.Path(named)}
	if tagged, ok := named.(reference.Tagged); ok {
		verdict.Tag = tagged.Tag()
	}
	if digested, ok := named.(reference.Digested); ok {
		verdict.Digest = digested.Digest().String()
	}
	return verdict
}
