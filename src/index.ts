/** Library surface: the core engine, for those who bring their own shell. */
export { Engine, type EngineConfig, type EngineMemory } from './engine/engine.ts';
