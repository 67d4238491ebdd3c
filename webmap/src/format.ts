/** Numbers as people read them. */

const WINDS = ["N", "NE", "E", "SE", "S", "SW", "W", "NW"] as const;

/** Speed in km/h with its unit; one decimal only where it says something. */
export function formatSpeed(kmPerHour: number): string {
  if (kmPerHour >= 10_000) return "> 9999 km/h";
  return `${kmPerHour > 0 && kmPerHour < 10 ? kmPerHour.toFixed(1) : Math.round(kmPerHour)} km/h`;
}

/** Age in the coarsest unit that still says something: "now", "12 s", "3 min", "5 h", "2 d". */
export function formatAge(ageMs: number): string {
  const seconds = Math.floor(Math.max(0, ageMs) / 1000);
  if (seconds < 2) return "now";
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

export function formatCourse(degrees: number): string {
  const wind = WINDS[Math.round(degrees / 45) % WINDS.length] ?? "N";
  return `${Math.round(degrees) % 360}° ${wind}`;
}

export function formatPosition(lat: number, lon: number): string {
  const northing = `${Math.abs(lat).toFixed(5)}° ${lat < 0 ? "S" : "N"}`;
  return `${northing}, ${Math.abs(lon).toFixed(5)}° ${lon < 0 ? "W" : "E"}`;
}

/** The end of a long identifier, where those of one fleet differ. */
export function shortId(deviceId: string): string {
  const characters = [...deviceId];
  return characters.length <= 10 ? deviceId : `…${characters.slice(-6).join("")}`;
}

/** The smallest of the usual full-scale values that holds a speed in km/h. */
export function speedScale(maxKmPerHour: number): number {
  return [20, 40, 60, 80, 120, 160, 240, 320].find((scale) => maxKmPerHour <= scale) ?? 480;
}
