package main

import (
	"encoding/json"
	"io"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/iamd-dev/iamd/internal/lint"
	"github.com/iamd-dev/iamd/policy"
)

// SARIF 2.1.0 (OASIS), as far as lint writes it. Code scanning of GitHub and GitLab
// reads it.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool struct {
			Driver sarifDriver `json:"driver"`
		} `json:"tool"`
		ColumnKind string        `json:"columnKind"`
		Results    []sarifResult `json:"results"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		Version        string      `json:"version"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID               string            `json:"id"`
		ShortDescription sarifText         `json:"shortDescription"`
		HelpURI          string            `json:"helpUri,omitempty"`
		Default          map[string]string `json:"defaultConfiguration"`
		Properties       map[string]any    `json:"properties"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID    string          `json:"ruleId"`
		RuleIndex int             `json:"ruleIndex"`
		Level     string          `json:"level"`
		Message   sarifText       `json:"message"`
		Locations []sarifLocation `json:"locations"`
		Related   []sarifLocation `json:"relatedLocations,omitempty"`
	}
	sarifLocation struct {
		Physical struct {
			Artifact struct {
				URI string `json:"uri"`
			} `json:"artifactLocation"`
			Region *sarifRegion `json:"region"`
		} `json:"physicalLocation"`
		Logical []sarifLogical `json:"logicalLocations,omitempty"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn"`
		EndLine     int `json:"endLine"`
		EndColumn   int `json:"endColumn"`
	}
	sarifLogical struct {
		Name string `json:"fullyQualifiedName"`
	}
)

// sarifLevels gives SARIF's word for a type of findings. Security warnings are
// errors there: they are what a review must not miss.
var sarifLevels = map[string]string{
	policy.TypeError:           "error",
	policy.TypeSecurityWarning: "error",
	policy.TypeWarning:         "warning",
	policy.TypeSuggestion:      "note",
}

// writeSARIF prints one run with the rules that were broken.
func writeSARIF(w io.Writer, reports []lintReport) error {
	rules := map[string]policy.Rule{}
	for _, r := range policy.Rules() {
		rules[r.Code] = r
	}
	run := sarifRun{ColumnKind: "unicodeCodePoints", Results: []sarifResult{}}
	driver := sarifDriver{Name: "iamd", Version: version(), InformationURI: "https://github.com/iamd-dev/iamd", Rules: []sarifRule{}}
	index := map[string]int{}
	for _, r := range reports {
		for _, f := range r.Findings {
			i, ok := index[f.Code]
			if !ok {
				i = len(driver.Rules)
				index[f.Code] = i
				rule := rules[f.Code]
				x := sarifRule{
					ID: f.Code, ShortDescription: sarifText{rule.Text}, HelpURI: lint.Anchor(&rule),
					Default:    map[string]string{"level": sarifLevels[rule.Type]},
					Properties: map[string]any{"tags": []string{strings.ToLower(rule.Type)}},
				}
				if rule.Type == policy.TypeSecurityWarning {
					x.Properties["security-severity"] = "7.0"
				}
				driver.Rules = append(driver.Rules, x)
			}
			result := sarifResult{
				RuleID: f.Code, RuleIndex: i, Level: sarifLevels[f.Type], Message: sarifText{f.Text},
				Locations: []sarifLocation{sarifPlace(&r, f.Location)},
			}
			for _, l := range f.More {
				result.Related = append(result.Related, sarifPlace(&r, l))
			}
			run.Results = append(run.Results, result)
		}
	}
	run.Tool.Driver = driver
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(sarifLog{"https://json.schemastore.org/sarif-2.1.0.json", "2.1.0", []sarifRun{run}})
}

func sarifPlace(r *lintReport, l policy.Location) sarifLocation {
	var s sarifLocation
	s.Physical.Artifact.URI = (&url.URL{Path: filepath.ToSlash(r.File)}).String()
	s.Physical.Region = &sarifRegion{l.Line, l.Column, l.EndLine, l.EndColumn}
	where := strings.Trim(r.Document+"."+l.Where(), ".")
	if where != "" {
		s.Logical = []sarifLogical{{where}}
	}
	return s
}
