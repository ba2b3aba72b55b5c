// Package outbox holds the SQL that makes the outbox in a product's PostgreSQL, so that programs and tests can run the
// very file that operators run.
package outbox

import _ "embed"

// SQL makes the outbox. Running it again changes nothing.
//
//go:embed outbox.sql
var SQL string

// Example is a shop that takes orders and says so in the same transactions.
//
//go:embed example.sql
var Example string
