//go:build !unix

package pgtest

import (
	"errors"
	"os/exec"
)

type guard struct{}

func watch(*Server) (*guard, error) {
	return nil, errors.New("tests with PostgreSQL run on Unix only")
}

func (*guard) release() {}

func own(string) error { return nil }

func command(name string, args ...string) *exec.Cmd { return exec.Command(name, args...) }

func freeze(int)         {}
func end(int)            {}
func children(int) []int { return nil }
func gone(int) bool      { return true }
