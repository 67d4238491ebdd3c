/** Numbers as people read them. */

const WINDS = ["N", "NE", "E", "SE", "S", "SW", "W", "NW"] as const;

/** Speed with its unit, from km/h; with a decimal only below 10. */
export function formatSpeed(kmPerHour: number): string {
  if (kmPerHour >= 10_000) return "> 9999 km/h";
  return `${kmPerHour > 0 && kmPerHour < 10 ? kmPerHour.toFixed(1) : Math.round(kmPerHour)} km/h`;
}

export function formatCourse(degrees: number): string {
  const wind = WINDS[Math.round(degrees / 45) % WINDS.length] ?? "N";
  return `${Math.round(degrees) % 360}° ${wind}`;
}

export function formatPosition(lat: number, lon: number): string {
  const northing = `${Math.abs(lat).toFixed(5)}° ${lat < 0 ? "S" : "N"}`;
  return `${northing}, ${Math.abs(lon).toFixed(5)}° ${lon < 0 ? "W" : "E"}`;
}

/** Time to the second, with the date if that is not today's. */
export function formatTime(timeMs: number, nowMs: number): string {
  const [time, now] = [new Date(timeMs), new Date(nowMs)];
  const clock = time.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  if (time.toDateString() === now.toDateString()) return clock;
  return `${time.toLocaleDateString(undefined, { month: "short", day: "numeric" })}, ${clock}`;
}
