package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Fact returns a small fact of a database, as Store.Meta does, without joining the nodes there or changing anything. "" is
// what was never set, also in a database without tables.
func Fact(ctx context.Context, url, key string) (value string, err error) {
	s := &Store{o: Options{URL: url}}
	config, err := s.config()
	if err != nil {
		return "", err
	}
	config.ConnConfig.ValidateConnect = nil // a standby can be looked at
	c, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err != nil {
		return "", openError(err)
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }()
	var there bool
	if err := c.QueryRow(ctx, "SELECT to_regclass('meta') IS NOT NULL").Scan(&there); err != nil || !there {
		return "", err
	}
	return readMeta(ctx, c, key)
}
