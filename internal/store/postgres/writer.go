package postgres

import "github.com/jackc/pgx/v5"

type writer struct{ s *Store }

func newWriter(s *Store, _ *pgx.ConnConfig) *writer { return &writer{s: s} }
func (w *writer) start()                            {}
func (w *writer) close() error                      { return nil }
