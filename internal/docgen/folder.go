package docgen

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// manifest is the file in which a folder says which of its files WriteFolder has written.
const manifest = ".patchbay-docs"

// WriteFolder writes files, whose names have slashes, into a folder. It may be one that WriteFolder has written before: what
// it wrote then and is not among the files any more is removed. A file of somebody else's is never overwritten.
func WriteFolder(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("the folder %s cannot be made: %w", dir, reason(err))
	}
	root, err := os.OpenRoot(dir) // a symbolic link in it leads nowhere else
	if err != nil {
		return fmt.Errorf("the folder %s cannot be opened: %w", dir, reason(err))
	}
	defer func() { _ = root.Close() }() // what was written is closed already
	ours, err := written(root)
	if err != nil {
		return fmt.Errorf("%s cannot be read, which says what was written there before: %w", filepath.Join(dir, manifest), reason(err))
	}
	names := slices.Sorted(maps.Keys(files))
	for _, name := range names {
		if _, err := root.Lstat(name); err == nil && !ours[name] {
			return fmt.Errorf("%s is there already and is none of what was written before: choose another folder, or take it away", filepath.Join(dir, name))
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s cannot be written: %w", filepath.Join(dir, name), reason(err))
		}
	}
	// What is listed may be gone, and what is there must be listed: whatever happens in between, it can be done again.
	all := maps.Clone(ours)
	for _, name := range names {
		all[name] = true
	}
	if err := list(root, all); err != nil {
		return fmt.Errorf("%s cannot be written: %w", filepath.Join(dir, manifest), reason(err))
	}
	for _, name := range names {
		if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return fmt.Errorf("%s cannot be made: %w", filepath.Join(dir, path.Dir(name)), reason(err))
		}
		if err := root.WriteFile(name, files[name], 0o644); err != nil {
			return fmt.Errorf("%s cannot be written: %w", filepath.Join(dir, name), reason(err))
		}
		delete(ours, name)
	}
	for name := range ours {
		if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s, which is of no use any more, cannot be removed: %w", filepath.Join(dir, name), reason(err))
		}
		delete(all, name)
	}
	if err := list(root, all); err != nil {
		return fmt.Errorf("%s cannot be written: %w", filepath.Join(dir, manifest), reason(err))
	}
	return nil
}

// written reads which files were written before.
func written(root *os.Root) (map[string]bool, error) {
	ours := map[string]bool{}
	f, err := root.Open(manifest)
	if errors.Is(err, fs.ErrNotExist) {
		return ours, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if name := lines.Text(); fs.ValidPath(name) && name != "." && name != manifest {
			ours[name] = true
		}
	}
	return ours, lines.Err()
}

func list(root *os.Root, names map[string]bool) error {
	return root.WriteFile(manifest, []byte(strings.Join(slices.Sorted(maps.Keys(names)), "\n")+"\n"), 0o644)
}

// reason leaves out the path, which the sentence has already.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
