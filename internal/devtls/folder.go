package devtls

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// Variable names the folder where the system's custom is not wanted.
const Variable = "LIVENET_DATA_DIR"

// Folder is where the user's certificates are: getenv is os.Getenv, or stands
// for it.
func Folder(getenv func(string) string) (string, error) {
	if dir := getenv(Variable); dir != "" {
		return dir, nil
	}
	if base := dataHome(runtime.GOOS, getenv); base != "" {
		return filepath.Join(base, "livenet"), nil
	}
	return "", errors.New("there is no home folder to keep the development certificate in: set " + Variable)
}

// dataHome is where programs keep their data, by the system's custom.
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
	if dir := getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) { // a relative one is to be ignored, says the XDG specification
		return dir
	}
	if home == "" {
		return ""
	}
	return filepath.Join(home, ".local", "share")
}

// checkFolder refuses a folder that isn't the user's alone. One that is not there is none.
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

// once puts content into a file unless the file exists, and reports whether it did.
func once(name string, content []byte) (bool, error) {
	return place(name, content, func(temp, name string) error {
		err := os.Link(temp, name)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			// A file system without links: of two that come here at once the last one's stays.
			return os.Rename(temp, name)
		}
		return err
	})
}

// replace puts content into a file, in place of what was there.
func replace(name string, content []byte) (bool, error) { return place(name, content, os.Rename) }

// place writes a file beside the one wanted, whole and on the disk, and then
// moves it: another process never sees a part of it.
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
