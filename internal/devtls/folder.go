package devtls

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// Variable is the environment variable that overrides the folder.
const Variable = "LIVENET_DATA_DIR"

// Folder returns the folder of the user's certificates. getenv is os.Getenv or a test's.
func Folder(getenv func(string) string) (string, error) {
	if dir := getenv(Variable); dir != "" {
		return dir, nil
	}
	if base := dataHome(runtime.GOOS, getenv); base != "" {
		return filepath.Join(base, "livenet"), nil
	}
	return "", errors.New("there is no home folder to keep the development certificate in: set " + Variable)
}

// dataHome returns the system's standard folder for programs' data.
func dataHome(system string, getenv func(string) string) string {
	home := getenv("HOME")
	switch system {
	case "windows":
		return getenv("LocalAppData")
	case "darwin", "ios":
		if home == "" {
			return ""
		}
		return filepath.Join(home, "Library", "Application Support")
	}
	if dir := getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) { // the XDG specification says to ignore a relative one
		return dir
	}
	if home == "" {
		return ""
	}
	return filepath.Join(home, ".local", "share")
}

// checkFolder returns an error if dir does not exist, or if another user can write to it.
func checkFolder(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	return checkOwner(dir, info)
}

const (
	folderMode = 0o700
	fileMode   = 0o600
)

// once writes a file unless it exists, and reports whether it did.
func once(name string, content []byte) (bool, error) {
	return place(name, content, func(temp, name string) error {
		err := os.Link(temp, name)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			// The file system has no links. If two processes are here at once, the last one wins.
			return os.Rename(temp, name)
		}
		return err
	})
}

// replace writes a file, and replaces an existing one.
func replace(name string, content []byte) (bool, error) { return place(name, content, os.Rename) }

// place writes and syncs a temporary file, and then moves it to name, so that other processes
// never see a partial file.
func place(name string, content []byte, move func(temp, name string) error) (bool, error) {
	if err := os.MkdirAll(filepath.Dir(name), folderMode); err != nil {
		return false, err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return false, err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(fileMode), f.Sync(), f.Close()); err != nil {
		return false, err
	}
	err = move(f.Name(), name)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	return err == nil, err
}
