// The test kit of the doors.
export { type DoorKit, type DoorKitOptions, doorKit } from './testing/door-kit.ts';
