package sqlite

import (
	"fmt"
	"path/filepath"
)

// Fact returns a small fact of the database in a data directory, as Store.Meta does, without changing anything: also of a
// database of an older version, and while a process serves from it. "" is what was never set.
func Fact(dir, key string) (value string, err error) {
	if err := MustExist(dir); err != nil {
		return "", err
	}
	name := filepath.Join(dir, databaseName)
	c, err := openConn(name, 0)
	if err != nil {
		return "", openError(err)
	}
	defer c.close()
	err = c.exec("PRAGMA busy_timeout = 5000")
	if err == nil {
		err = ownFile(c)
	}
	if err == nil {
		value, err = readMeta(c, key)
	}
	if err != nil {
		return "", fmt.Errorf("%s cannot be read: %w", name, err)
	}
	return value, nil
}
