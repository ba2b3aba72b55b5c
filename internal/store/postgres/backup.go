package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// Backups of PostgreSQL are PostgreSQL's own: pg_dump's custom format, which it takes in one snapshot while everything
// goes on. What is added is that nothing is overwritten, that a file is whole or not there, and that no password stands in
// the list of processes.

// partialEnd is what a file is called until it is whole.
const partialEnd = ".partial"

// Backup dumps the database at a URL into a file, which must not exist, and returns its size. progress, which may be nil,
// is told how many bytes there are; how many there will be nobody knows.
func Backup(ctx context.Context, address, file string, progress func(done, total int64)) (int64, error) {
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("%s exists already, and is not overwritten: choose another name", file)
	}
	temporary := file + partialEnd
	f, err := os.OpenFile(temporary, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600) // settings of links are in it
	if err != nil {
		return 0, fmt.Errorf("%s cannot be written: %w", temporary, err)
	}
	stop := watchSize(f, progress)
	err = tool(ctx, "pg_dump", address, f, "--format=custom", "--no-owner", "--no-acl")
	stop()
	info, e := f.Stat()
	err = errors.Join(err, e, f.Sync(), f.Close())
	if err == nil {
		// A dump that was cut off has no list of contents.
		err = readable(ctx, temporary)
	}
	if err == nil {
		err = os.Rename(temporary, file)
	}
	if err != nil {
		return 0, errors.Join(err, os.Remove(temporary))
	}
	return info.Size(), nil
}

// watchSize tells how large a file is, now and then, until the function that it returns is called.
func watchSize(f *os.File, progress func(done, total int64)) (stop func()) {
	if progress == nil {
		return func() {}
	}
	over := make(chan struct{})
	var owned sync.WaitGroup
	owned.Go(func() {
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-over:
				return
			case <-ticker.C:
				if info, err := f.Stat(); err == nil {
					progress(info.Size(), 0)
				}
			}
		}
	})
	return func() { close(over); owned.Wait() }
}

// readable checks that a file is a dump of Patchbay's tables.
func readable(ctx context.Context, file string) error {
	var list bytes.Buffer
	if err := tool(ctx, "pg_restore", "", &list, "--list", file); err != nil {
		return fmt.Errorf("%s cannot be used: %w", file, err)
	}
	for _, table := range []string{" TABLE DATA public event_default ", " TABLE DATA public meta ", " TABLE DATA public link "} {
		if !strings.Contains(list.String(), strings.Replace(table, " public ", " ", 1)) && !strings.Contains(list.String(), table) {
			return fmt.Errorf("%s is not a backup of Patchbay: it lacks a table", file)
		}
	}
	return nil
}

// Restore makes an installation of a backup in a database that has none. All of it is there afterwards, or nothing.
func Restore(ctx context.Context, file, address string) error {
	if err := readable(ctx, file); err != nil {
		return err
	}
	c, err := pgx.Connect(ctx, address)
	if err != nil {
		return explain(err)
	}
	var taken bool
	err = c.QueryRow(ctx, "SELECT to_regclass('event') IS NOT NULL OR to_regclass('meta') IS NOT NULL").Scan(&taken)
	if err = errors.Join(err, c.Close(ctx)); err != nil {
		return explain(err)
	}
	if taken {
		return errors.New("the database has an installation already, and it is not overwritten: restore into an empty one (CREATE DATABASE), then serve from that")
	}
	var says bytes.Buffer
	if err := tool(ctx, "pg_restore", address, &says, "--no-owner", "--no-acl", "--exit-on-error", "--single-transaction", file); err != nil {
		return err
	}
	c, err = pgx.Connect(ctx, address)
	if err != nil {
		return explain(err)
	}
	_, err = c.Exec(ctx, "ANALYZE") // a dump has no statistics, and without them every plan is a guess
	return errors.Join(err, c.Close(ctx))
}

// tool runs one of PostgreSQL's programs for the database at a URL.
func tool(ctx context.Context, name, address string, out io.Writer, arguments ...string) error {
	program, err := exec.LookPath(name)
	if err != nil {
		return fmt.Errorf("%s is not installed here (Debian: apt-get install postgresql-client); where it is, run: pg_dump --format=custom --no-owner --no-acl --file=FILE DATABASE-URL to back up, pg_restore --no-owner --no-acl --single-transaction --dbname=DATABASE-URL FILE to restore", name)
	}
	environment := os.Environ()
	if address != "" {
		plain, password, err := apart(address)
		if err != nil {
			return err
		}
		arguments = append([]string{"--dbname=" + plain}, arguments...)
		if password != "" {
			environment = append(environment, "PGPASSWORD="+password)
		}
	}
	cmd := exec.CommandContext(ctx, program, arguments...)
	cmd.Env, cmd.Stdout = environment, out
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	var says bytes.Buffer
	cmd.Stderr = &says
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%s failed: %s (%w)", name, strings.Join(strings.Fields(says.String()), " "), err)
	}
	return nil
}

// apart takes the password out of a URL: what stands in arguments everybody on the machine can read.
func apart(address string) (plain, password string, err error) {
	scheme, rest, _ := strings.Cut(address, "://")
	before, query, _ := strings.Cut(rest, "?")
	authority, path, slash := strings.Cut(before, "/")
	if at := strings.LastIndexByte(authority, '@'); at >= 0 { // url.Parse does not know several hosts
		user, secret, _ := strings.Cut(authority[:at], ":")
		if password, err = url.PathUnescape(secret); err != nil {
			return "", "", errors.New("the password in the database's URL has a % that does not begin a code such as %40")
		}
		authority = user + "@" + authority[at+1:]
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return "", "", errors.New("what follows the ? in the database's URL cannot be read")
	}
	if p := values.Get("password"); p != "" {
		password = p
		values.Del("password")
	}
	plain = scheme + "://" + authority
	if slash {
		plain += "/" + path
	}
	if len(values) > 0 {
		plain += "?" + strings.ReplaceAll(values.Encode(), "+", "%20")
	}
	return plain, password, nil
}
