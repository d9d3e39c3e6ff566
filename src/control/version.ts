import { readFileSync } from 'node:fs';

/** Version of this package, from its manifest two levels above the compiled and the source file alike. */
export function packageVersion(): string {
  const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    readonly version: string;
  };
  return manifest.version;
}
