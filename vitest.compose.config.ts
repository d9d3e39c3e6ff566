import { defineConfig } from 'vitest/config';

// The stories of docker-compose.yml on a real engine: apart from `npm test`, because they build images and start containers.
export default defineConfig({
  test: {
    name: 'compose',
    include: ['test/compose/**/*.compose.ts'],
    fileParallelism: false,
    testTimeout: 180_000,
    hookTimeout: 600_000,
  },
});
