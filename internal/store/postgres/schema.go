package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is what an operator should know of a database before a node joins it.
type Server struct {
	// Version is PostgreSQL's.
	Version string
	// Schema is how many migrations have run, 0 in an empty database, and Known how many this program has. Pending are the
	// names of those that have not run.
	Schema, Known int
	Pending       []string
	// ReadOnly says that it takes no writes: it is a standby, or set so.
	ReadOnly bool
	// Unsafe are the names of settings that let the server forget what it has said is written: fsync, full_page_writes,
	// synchronous_commit.
	Unsafe []string
	// Connections is how many it takes at one time.
	Connections int
	// Nodes is how many nodes share it at the moment.
	Nodes int
	// Skew is how far its clock is ahead of this machine's.
	Skew time.Duration
}

// Inspect looks at a database without joining or changing it. Its errors are sentences for the operator.
func Inspect(ctx context.Context, url string) (*Server, error) { return aside(ctx, url, false) }

// Migrate brings the schema of a database up to date, while other nodes serve, and says how it is then.
func Migrate(ctx context.Context, url string) (*Server, error) { return aside(ctx, url, true) }

// aside works on a connection of its own.
func aside(ctx context.Context, url string, change bool) (out *Server, err error) {
	s := &Store{o: Options{URL: url}}
	config, err := s.config()
	if err != nil {
		return nil, err
	}
	if !change {
		config.ConnConfig.ValidateConnect = nil // a standby can be looked at
	}
	c, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err != nil {
		return nil, openError(err)
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }()
	if change {
		if err := migrate(ctx, c); err != nil {
			return nil, openError(err)
		}
	}
	if out, err = inspect(ctx, c); err != nil {
		return nil, openError(err)
	}
	return out, nil
}

func inspect(ctx context.Context, c *pgx.Conn) (*Server, error) {
	all, err := readMigrations(migrationFiles)
	if err != nil {
		return nil, err
	}
	out := &Server{Known: len(all)}
	if out.Schema, err = checkSchema(ctx, c, len(all)); err != nil {
		return nil, err
	}
	for _, m := range all[min(out.Schema, len(all)):] {
		out.Pending = append(out.Pending, m.name)
	}
	asked := time.Now()
	var there time.Time
	err = c.QueryRow(ctx, `SELECT current_setting('server_version'), current_setting('transaction_read_only')::bool, current_setting('max_connections')::int,
		coalesce((SELECT array_agg(name::text ORDER BY name) FROM pg_settings
			WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off'), '{}'), clock_timestamp()`).
		Scan(&out.Version, &out.ReadOnly, &out.Connections, &out.Unsafe, &there)
	if err != nil {
		return nil, err
	}
	out.Skew = there.Sub(asked.Add(time.Since(asked) / 2)).Round(time.Millisecond)
	if out.Schema > 0 {
		err = c.QueryRow(ctx, "SELECT count(*) FROM node WHERE state = 'alive'").Scan(&out.Nodes)
	}
	return out, err
}
