package docker

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/distribution/reference"
	"github.com/docker/cli/cli/config"
	"github.com/moby/moby/api/types/registry"
)

// hubKey is the name under which Docker Hub's credentials are kept.
const hubKey = "https://index.docker.io/v1/"

// registryAuth returns the credentials for an image's registry from the Docker config file, credential helpers included, as
// the engine takes them; "" for none. The file is read each time, because `docker login` changes it.
func registryAuth(ctx context.Context, dir, image string) (string, error) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return "", fmt.Errorf("image reference %q: %w", image, err)
	}
	key := reference.Domain(named)
	if key == "docker.io" {
		key = hubKey
	}
	type answer struct {
		auth registry.AuthConfig
		err  error
	}
	found := make(chan answer, 1)
	go func() { // a credential helper is a program that may hang, and the library gives it no deadline
		file, err := config.Load(dir)
		if err != nil {
			found <- answer{err: fmt.Errorf("read registry credentials: %w", err)}
			return
		}
		a, err := file.GetAuthConfig(key)
		if err != nil {
			err = fmt.Errorf("get credentials of %s: %w", key, err)
		}
		found <- answer{registry.AuthConfig{
			Username: a.Username, Password: a.Password, Auth: a.Auth, ServerAddress: a.ServerAddress,
			IdentityToken: a.IdentityToken, RegistryToken: a.RegistryToken,
		}, err}
	}()
	select {
	case a := <-found:
		if a.err != nil {
			return "", a.err
		}
		return encodeAuth(a.auth)
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// hintLogin adds to a registry's refusal how to be let in.
func hintLogin(err error, image string) error {
	named, bad := reference.ParseNormalizedNamed(image)
	if bad != nil || !containsAny(err.Error(), "no basic auth credentials", "unauthorized") {
		return err
	}
	return fmt.Errorf("%w: run docker login %s as the user that brambled runs as (root)", err, reference.Domain(named))
}

func encodeAuth(a registry.AuthConfig) (string, error) {
	if a == (registry.AuthConfig{}) || a == (registry.AuthConfig{ServerAddress: a.ServerAddress}) {
		return "", nil
	}
	b, err := json.Marshal(a)
	if err != nil {
		return "", fmt.Errorf("encode registry credentials: %w", err)
	}
	return base64.URLEncoding.EncodeToString(b), nil
}
