package pgtest

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Run starts a private server for a program that is no test. Close ends it; it also ends with the program.
func Run(o Options) (*Server, error) {
	s, err := create(o.Dir, func(s *Server) error { return s.initialise(o) })
	if err != nil {
		return nil, err
	}
	if err := s.createRole(); err != nil {
		s.destroy()
		return nil, err
	}
	return s, nil
}

// Close ends a server that Run started and removes its files.
func (s *Server) Close() { s.destroy() }

// Create makes an empty database and returns its URL. It stays until the server goes.
func (s *Server) Create() (string, error) {
	name := fmt.Sprintf("made_%d", s.databases.Add(1))
	if _, err := s.psql("postgres", "CREATE DATABASE "+name+" OWNER "+Role+" TEMPLATE template0"); err != nil {
		return "", fmt.Errorf("making a database: %w", err)
	}
	return s.URL(name), nil
}

// clockTick is the unit of the times in /proc, the same on every architecture that Linux runs Go on.
const clockTick = time.Second / 100

// CPU returns what the server's processes, those that have ended included, have used of the processors.
func (s *Server) CPU() (time.Duration, error) {
	if s.cmd == nil {
		return 0, errors.New("the server does not run")
	}
	main := s.cmd.Process.Pid
	var sum time.Duration
	for _, pid := range append(children(main), main) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			if pid == main {
				return 0, fmt.Errorf("what PostgreSQL uses of the processors cannot be read: %w", err)
			}
			continue // it has just ended, and its parent counts it
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		last := 13 // utime and stime; of the parent also those of children that have ended
		if pid == main {
			last = 15
		}
		for i := 11; i < last && i < len(fields); i++ {
			n, _ := strconv.ParseInt(fields[i], 10, 64) // numbers, by the kernel's word
			sum += time.Duration(n) * clockTick
		}
	}
	return sum, nil
}
