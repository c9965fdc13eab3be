package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	yaml "go.yaml.in/yaml/v3"

	"github.com/spacegrid/spacegrid/datapump"
	"github.com/spacegrid/spacegrid/datapump/filter"
	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/writer/postgres"
)

// kindPostgres is the kind of sinks that are databases of PostgreSQL.
const kindPostgres = "postgres"

// memberSinks are the kinds of sinks that the members of this program know. A
// database gets every change: the writer folds those of an entry by itself, and its
// journal is of all of them.
func memberSinks() map[string]grid.SinkKind {
	return map[string]grid.SinkKind{kindPostgres: {EveryChange: true, Open: openPostgres}}
}

// checkSink reports what is wrong with the settings of a sink before the cluster is
// asked to agree on it. Kinds of other programs are for their members to judge.
func checkSink(kind, config string) error {
	if kind != kindPostgres {
		return nil
	}
	if err := checkPostgres(config); err != nil {
		return usagef("settings of kind %s: %v", kind, err)
	}
	return nil
}

// postgresSettings are what a sink of kind postgres is defined with, as YAML or
// JSON:
//
//	dsn: env:ORDERS_DSN        # or file:/path; of the members, who read it
//	schema: spacegrid          # of the writer's own tables
//	mappings:                  # spaces with tables of their own
//	  - space: orders
//	    table: orders
//	    columns:
//	      - {name: id, type: text, from: $key}
//	      - {name: total, type: "numeric(12,2)"}
//	journal: false             # keep every change ever written
//	check_only: false          # never create a table
//	filter:                    # what passes, and how
//	  steps:
//	    - drop: [internal.notes]
type postgresSettings struct {
	DSN       string             `yaml:"dsn"`
	Schema    string             `yaml:"schema"`
	Mappings  []postgres.Mapping `yaml:"mappings"`
	Journal   bool               `yaml:"journal"`
	CheckOnly bool               `yaml:"check_only"`
	Filter    *filter.Config     `yaml:"filter"`
}

// parsePostgres reads settings. A name that means nothing is an error.
func parsePostgres(text string) (*postgresSettings, error) {
	d := yaml.NewDecoder(bytes.NewReader([]byte(text)))
	d.KnownFields(true)
	s := new(postgresSettings)
	if err := d.Decode(s); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more than one document")
	}
	if from, _, _ := strings.Cut(s.DSN, ":"); from != "env" && from != "file" || len(s.DSN) == len(from)+1 {
		return nil, errors.New("dsn says where the members find the connection string: env:NAME or file:path")
	}
	return s, nil
}

// writer returns the configuration of the writer, but for whom it is and where it
// connects to.
func (s *postgresSettings) writer() postgres.Config {
	return postgres.Config{Schema: s.Schema, Mappings: s.Mappings, Journal: s.Journal, CheckOnly: s.CheckOnly}
}

// pipe returns the filter, nil if there is none.
func (s *postgresSettings) pipe() (*filter.Pipe, error) {
	if s.Filter == nil {
		return nil, nil
	}
	if len(s.Filter.Branches) > 0 {
		return nil, errors.New("the filter of a sink has no branches: define a sink for each")
	}
	pipes, err := s.Filter.Pipes()
	return pipes[""], err
}

// checkPostgres reports what is wrong with settings wherever they are used. Where
// the database is only the members know.
func checkPostgres(text string) error {
	s, err := parsePostgres(text)
	if err != nil {
		return err
	}
	if _, err := s.pipe(); err != nil {
		return err
	}
	c := s.writer()
	c.Name, c.DSN = "check", "host=localhost"
	w, err := postgres.Open(c) // it does not connect
	if err != nil {
		return err
	}
	return w.Close()
}

// openPostgres opens the writer of a sink, behind its filter.
func openPostgres(_ context.Context, from grid.SinkSettings) (datapump.Sink, error) {
	s, err := parsePostgres(from.Config)
	if err != nil {
		return nil, fmt.Errorf("the settings of the sink: %w (spacegrid sink alter %s --config)", err, from.Name)
	}
	pipe, err := s.pipe()
	if err != nil {
		return nil, err
	}
	c := s.writer()
	c.Name, c.Partitions, c.Logger = from.Name, from.Partitions, from.Logger
	if c.DSN, err = postgres.LoadDSN(s.DSN, os.LookupEnv); err != nil {
		return nil, fmt.Errorf("%w: member %s needs it when it starts", err, from.Member)
	}
	w, err := postgres.Open(c)
	switch {
	case err != nil:
		return nil, err
	case pipe == nil:
		return w, nil
	}
	return filteredWriter{filter.Sink(w, pipe, from.SpaceName), w}, nil
}

// filteredWriter is a writer behind a filter, which is closed with it.
type filteredWriter struct {
	*filter.Filtered
	writer *postgres.Writer
}

// Close implements io.Closer.
func (f filteredWriter) Close() error { return f.writer.Close() }
