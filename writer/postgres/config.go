package postgres

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/spacegrid/spacegrid/grid/space"
)

const (
	// DefaultSchema holds the writer's own tables.
	DefaultSchema = "spacegrid"
	// DefaultMaxConns bounds the connections of one writer: the pump uses one at a
	// time, the others are for operators and for loading.
	DefaultMaxConns = 4
	// DefaultStatementTimeout bounds one statement, so that a lock that is never
	// given up becomes an error. It is that of the pump for a whole call.
	DefaultStatementTimeout = 30 * time.Second
	// DefaultConnectTimeout bounds the making of a connection.
	DefaultConnectTimeout = 5 * time.Second
	// MaxNameBytes is the longest name PostgreSQL keeps; a longer one would be cut.
	MaxNameBytes = 63
	// MaxColumns of one mapping; a table of PostgreSQL has up to 1600.
	MaxColumns = 512
	// maxDSNBytes bounds a file that should hold a connection string.
	maxDSNBytes = 64 << 10
)

// DSN is a connection string, as a URL or as words key=value. It prints as
// "[hidden]", because it may hold a password.
type DSN string

// String hides the connection string.
func (DSN) String() string { return "[hidden]" }

// GoString hides the connection string.
func (DSN) GoString() string { return "[hidden]" }

// LogValue hides the connection string.
func (DSN) LogValue() slog.Value { return slog.StringValue("[hidden]") }

// LoadDSN reads a connection string from where a configuration says it is:
// "env:NAME" is an environment variable, which lookup finds as os.LookupEnv does,
// "file:path" the content of a file without white space around it. There is no way
// to give one directly: it would end up in listings of processes and in logs.
func LoadDSN(from string, lookup func(string) (string, bool)) (DSN, error) {
	kind, name, _ := strings.Cut(from, ":")
	switch kind {
	case "env":
		v, ok := lookup(name)
		if !ok || v == "" {
			return "", fmt.Errorf("postgres: the environment has no connection string in %s", name)
		}
		return DSN(v), nil
	case "file":
		info, err := os.Stat(name)
		if err != nil {
			return "", fmt.Errorf("postgres: read the connection string: %w", err)
		}
		if info.Size() > maxDSNBytes {
			return "", fmt.Errorf("postgres: %s has %d bytes: that is no connection string", name, info.Size())
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("postgres: read the connection string: %w", err)
		}
		return DSN(strings.TrimSpace(string(b))), nil
	}
	return "", errors.New("postgres: a connection string comes from env:NAME or file:path")
}

// Config says which database a writer feeds, and how.
type Config struct {
	// Name of the sink. Writers of one name continue each other's work; those of
	// different names do not know of each other.
	Name string
	// DSN leads to the database.
	DSN DSN
	// Schema of the writer's own tables; default DefaultSchema.
	Schema string
	// Partitions is the number of partitions of the grid, 0 if it is not to be
	// checked. It is kept with the first writing and may not change.
	Partitions int
	// Mappings give spaces tables of their own.
	Mappings []Mapping
	// CheckOnly leaves the making of tables to the operator. Otherwise missing
	// tables are created; existing ones are never altered.
	CheckOnly bool
	// Journal also appends every change to the table journal, which has no unique
	// key: what is applied twice is there twice. It grows for ever and is meant
	// for proofs.
	Journal bool
	// MaxConns, StatementTimeout and ConnectTimeout bound what the writer takes
	// from the server; defaults DefaultMaxConns, DefaultStatementTimeout and
	// DefaultConnectTimeout.
	MaxConns         int
	StatementTimeout time.Duration
	ConnectTimeout   time.Duration
	// Logger gets what an operator should know; nil discards it.
	Logger *slog.Logger
}

func (c Config) withDefaults() (Config, error) {
	c.Schema = cmp.Or(c.Schema, DefaultSchema)
	c.MaxConns = cmp.Or(c.MaxConns, DefaultMaxConns)
	c.StatementTimeout = cmp.Or(c.StatementTimeout, DefaultStatementTimeout)
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, DefaultConnectTimeout)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case c.Name == "" || len(c.Name) > space.MaxNameBytes:
		return c, fmt.Errorf("postgres: the name of a sink has 1 to %d bytes", space.MaxNameBytes)
	case c.DSN == "":
		return c, errors.New("postgres: Config.DSN is missing")
	case !nameOK(c.Schema):
		return c, fmt.Errorf("postgres: schema %q is no name of PostgreSQL", c.Schema)
	case c.MaxConns < 0 || c.StatementTimeout < 0 || c.ConnectTimeout < 0 || c.Partitions < 0:
		return c, errors.New("postgres: Config has a negative limit")
	}
	spaces, tables := map[string]bool{}, map[string]bool{}
	for i := range c.Mappings {
		m := &c.Mappings[i]
		if spaces[m.Space] || tables[m.Table] {
			return c, fmt.Errorf("postgres: space %q or table %q is mapped twice", m.Space, m.Table)
		}
		spaces[m.Space], tables[m.Table] = true, true
	}
	return c, nil
}

// nameOK reports whether a name reaches PostgreSQL as it is.
func nameOK(name string) bool {
	return name != "" && len(name) <= MaxNameBytes && textOK([]byte(name))
}

// poolConfig returns the settings of the connections. Errors do not repeat the
// connection string.
func (c *Config) poolConfig() (*pgxpool.Config, error) {
	pc, err := pgxpool.ParseConfig(string(c.DSN))
	if err != nil {
		return nil, errors.New("postgres: the connection string cannot be read (a URL postgres://user@host/database, or words such as host=… dbname=…)")
	}
	pc.MaxConns = int32(min(c.MaxConns, 1<<15))
	pc.ConnConfig.ConnectTimeout = c.ConnectTimeout
	params := pc.ConnConfig.RuntimeParams
	if params["application_name"] == "" {
		params["application_name"] = "spacegrid " + c.Name
	}
	limit := strconv.FormatInt(max(1, c.StatementTimeout.Milliseconds()), 10)
	params["statement_timeout"] = limit
	// A writer that is gone without a word leaves its locks no longer than this.
	params["idle_in_transaction_session_timeout"] = limit
	return pc, nil
}
