package postgres

import (
	"context"
	"embed"

	"github.com/jackc/pgx/v5"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the schema up to date.
func migrate(ctx context.Context, c *pgx.Conn) error {
	if _, err := c.Exec(ctx, "SELECT pg_advisory_lock($1, 0)", lockMigrate); err != nil {
		return err
	}
	defer func() { _, _ = c.Exec(ctx, "SELECT pg_advisory_unlock($1, 0)", lockMigrate) }()
	var there bool
	if err := c.QueryRow(ctx, "SELECT to_regclass('node') IS NOT NULL").Scan(&there); err != nil || there {
		return err
	}
	sql, err := migrations.ReadFile("migrations/0001_first.sql")
	if err != nil {
		return err
	}
	_, err = c.Exec(ctx, string(sql), pgx.QueryExecModeSimpleProtocol)
	return err
}
