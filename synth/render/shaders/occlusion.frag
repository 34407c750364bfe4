#version 430
// Ambient openness 0…1 at half size. Obscurance after Alchemy (McGuire et al. 2011): eight taps on a spiral turned by
// pixel, weighted by how far the neighbour rises above the tangent plane.
uniform sampler2D depths;
uniform float focal;     // px, of the half-size picture
uniform float radius;    // m
uniform float strength;
uniform ivec2 half_size;
out float openness;

float depth_at(ivec2 pixel) {
    return texelFetch(depths, 2 * pixel, 0).x;
}

void main() {
    ivec2 pixel = ivec2(gl_FragCoord.xy);
    openness = 1.0;
    if (any(lessThan(pixel, ivec2(1))) || any(greaterThanEqual(pixel, half_size - 1))) return;
    float z = depth_at(pixel);
    float reach = min(radius * focal / z, 40.0);
    if (z <= 0.0 || reach < 1.0) return;
    // Tangent plane from the smaller of the one-sided depth differences.
    float left = z - depth_at(pixel - ivec2(1, 0)), right = depth_at(pixel + ivec2(1, 0)) - z;
    float up = z - depth_at(pixel - ivec2(0, 1)), down = depth_at(pixel + ivec2(0, 1)) - z;
    vec2 slope = vec2(abs(left) < abs(right) ? left : right, abs(up) < abs(down) ? up : down);
    float phase = float((pixel.x & 3) * 4 + (pixel.y & 3)) * 0.3926990817;
    float total = 0.0;
    for (int tap = 0; tap < 8; ++tap) {
        float angle = float(tap) * 2.399963 + phase;
        vec2 offset = reach * (float(tap) + 0.5) / 8.0 * vec2(cos(angle), sin(angle));
        ivec2 other = pixel + ivec2(floor(offset + 0.5));
        if (any(lessThan(other, ivec2(0))) || any(greaterThanEqual(other, half_size))) continue;
        float there = depth_at(other);
        if (there <= 0.0) continue;
        vec2 step = vec2(other - pixel);
        float rise = z + dot(slope, step) - there;
        if (rise > 0.004 * z && rise < radius * 1.6)
            total += min(1.0, rise / (z / focal * length(step) + 1e-6));
    }
    openness = max(0.0, 1.0 - strength * total / 8.0);
}
